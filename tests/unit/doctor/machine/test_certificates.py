"""Certificates: real ones of every age, with and without their key, from a file and as a server shows them."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from appliance.doctor.machine import certificates
from appliance.doctor.machine.certificates import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities, worst, write

DAY = datetime.timedelta(days=1)
LISTEN = {"api_listen": "127.0.0.1:8480"}


def make_certificate(folder: Path, days: float, name: str = "one", begins: float = -1.0) -> dict[str, str]:
    """A certificate that ends in so many days, with its key; the settings that name them."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "amda.example.org")])
    begin = min(now + begins * DAY, now + days * DAY - DAY)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, begin, now + days * DAY)
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    (folder / f"{name}.pem").write_bytes(certificate)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(secret)
    return {"api_certificate": str(folder / f"{name}.pem"), "api_key": str(folder / f"{name}.key")}


@pytest.mark.parametrize(
    ("days", "severity", "found"),
    [
        (90.4, Severity.OK, "for 90 days"),
        (5.7, Severity.WARNING, "in 6 days"),
        (-3, Severity.PROBLEM, "clients refuse it"),
    ],
)
def test_of_the_api(tmp_path: Path, days: float, severity: Severity, found: str) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path, **LISTEN, **make_certificate(tmp_path, days)))
    assert seen.severity is severity
    assert found in seen.found


def test_of_the_future(tmp_path: Path) -> None:
    settings = make_certificate(tmp_path, 90, begins=2)
    (seen,) = look(CHECK, make_patient(tmp_path, **LISTEN, **settings))
    assert "is the clock right?" in seen.found


def test_the_key_of_another(tmp_path: Path) -> None:
    settings = make_certificate(tmp_path, 90)
    other = make_certificate(tmp_path, 90, "other")
    seen = worst(look(CHECK, make_patient(tmp_path, **LISTEN, **{**settings, "api_key": other["api_key"]})))
    assert seen.severity is Severity.PROBLEM
    assert "does not belong" in seen.found


@pytest.mark.parametrize("broken", ["api_certificate", "api_key"])
def test_what_is_none(tmp_path: Path, broken: str) -> None:
    settings = make_certificate(tmp_path, 90)
    Path(settings[broken]).write_text("-----BEGIN NOTHING-----")
    assert Severity.PROBLEM in severities(look(CHECK, make_patient(tmp_path, **LISTEN, **settings)))
    Path(settings[broken]).unlink()
    assert Severity.PROBLEM in severities(look(CHECK, make_patient(tmp_path, **LISTEN, **settings)))


def test_there_are_none(tmp_path: Path) -> None:
    assert severities(look(CHECK, make_patient(tmp_path))) == [Severity.OK]


def test_as_a_server_shows_it(tmp_path: Path) -> None:
    settings = make_certificate(tmp_path, 5.5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["api_certificate"], settings["api_key"])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True):
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        patient = make_patient(tmp_path, storage_endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}")
        (seen,) = look(CHECK, patient)
        thread.join()
    assert seen.severity is Severity.WARNING
    assert seen.looked_at == "certificate of 127.0.0.1"


def test_the_proxy_of_the_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patient = make_patient(tmp_path)
    write(patient, certificates.CHOICES, "store=folder\ndomain='amda.example.org'\n")
    asked = []

    def shown(*where: object) -> x509.Certificate:
        asked.append(where)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(certificates, "shown_by", shown)
    (seen,) = look(CHECK, patient)
    assert asked == [("127.0.0.1", 443, "amda.example.org")]
    assert (seen.severity, seen.found) == (Severity.PROBLEM, "the proxy shows none: Connection refused")
    make_certificate(tmp_path, 40)
    loaded = x509.load_pem_x509_certificate((tmp_path / "one.pem").read_bytes())
    monkeypatch.setattr(certificates, "shown_by", lambda *_: loaded)
    assert severities(look(CHECK, patient)) == [Severity.OK]
