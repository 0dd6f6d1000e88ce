"""Certificates: of the API's own door, of the proxy before it, of S3, and how long they are good for."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from appliance.doctor.check import Check, Patient, Seen, in_thread, ok, problem, unseen, warning

SOON_DAYS: Final = 14.0
"""Those that are renewed by themselves are so thirty days before their end: less means that it does not work."""
ANSWER_S: Final = 5.0
CHOICES: Final = "/etc/amda/install.conf"
"""Where install.sh remembers the domain."""
_DOMAIN: Final = re.compile(r"^domain=['\"]?([A-Za-z0-9.-]+)['\"]?$", re.MULTILINE)
_DAY: Final = datetime.timedelta(days=1)


def look(patient: Patient) -> list[Seen]:
    seen = [*_own(patient), *_proxy(patient), *_store(patient)]
    return seen or [ok("there are none: the API is not open to elsewhere, and S3 is not spoken to with TLS")]


def _own(patient: Patient) -> Iterator[Seen]:
    settings = patient.settings.api
    if settings.certificate is None or settings.key is None:
        return
    looked_at = f"certificate of the API, {settings.certificate}"
    renew = "Put a new one there; the daemon takes it within a minute, without a restart."
    try:
        chain = x509.load_pem_x509_certificates(settings.certificate.read_bytes())
    except PermissionError:
        yield unseen("this user may not read it", looked_at)
        return
    except (OSError, ValueError) as error:
        yield problem(f"it cannot be used: {_reason(error)}", renew, looked_at)
        return
    yield from judge(chain[0], looked_at, renew)
    try:
        key = load_pem_private_key(settings.key.read_bytes(), None)
    except PermissionError:
        yield unseen("this user may not read the key, as it should be", f"key of the API, {settings.key}")
        return
    except (OSError, ValueError, TypeError) as error:
        yield problem(
            f"it cannot be used: {_reason(error)}", "A PEM file without a password", f"key of the API, {settings.key}"
        )
        return
    if _spki(key.public_key()) != _spki(chain[0].public_key()):
        yield problem(
            "it does not belong to the certificate", "Renew both together.", f"key of the API, {settings.key}"
        )


def _proxy(patient: Patient) -> Iterator[Seen]:
    """Of the proxy on this machine, as it shows it to others."""
    found = _DOMAIN.search(patient.text(CHOICES))
    if found is None:
        return
    domain = found[1]
    looked_at = f"certificate of the proxy for {domain}"
    remedy = f"journalctl -u amda-proxy: {domain} must lead here, and ports 80 and 443 must be open"
    try:
        shown = shown_by("127.0.0.1", 443, domain)
    except (OSError, ValueError) as error:
        yield problem(f"the proxy shows none: {_reason(error)}", remedy, looked_at)
        return
    yield from judge(shown, looked_at, remedy)


def _store(patient: Patient) -> Iterator[Seen]:
    storage = patient.settings.storage
    url = urlsplit(storage.endpoint or "")
    if url.scheme != "https" or url.hostname is None:
        return
    looked_at = f"certificate of {url.hostname}"
    try:
        shown = shown_by(url.hostname, url.port or 443, url.hostname)
    except (OSError, ValueError):  # that it does not answer is another check's to say
        return
    yield from judge(shown, looked_at, "Whoever runs the S3 server has to renew it.")


def judge(certificate: x509.Certificate, looked_at: str, remedy: str) -> Iterator[Seen]:
    """By its dates."""
    now = datetime.datetime.now(datetime.UTC)
    until, since = certificate.not_valid_after_utc, certificate.not_valid_before_utc
    days = (until - now) / _DAY
    if since > now:
        yield problem(f"it is good only from {since:%Y-%m-%d %H:%M} UTC on: is the clock right?", remedy, looked_at)
    elif days < 0:
        yield problem(f"it ended on {until:%Y-%m-%d}: clients refuse it", remedy, looked_at)
    elif days < SOON_DAYS:
        yield warning(f"it ends on {until:%Y-%m-%d}, in {days:.0f} days", remedy, looked_at)
    else:
        yield ok(f"it is good until {until:%Y-%m-%d}, for {days:.0f} days", looked_at)


def shown_by(address: str, port: int, name: str) -> x509.Certificate:
    """What a server shows, believed or not. Raises OSError, ValueError."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # looked at, not trusted: nothing is said to it
    with (
        socket.create_connection((address, port), timeout=ANSWER_S) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
    if not shown:
        raise ValueError("no certificate")
    return x509.load_der_x509_certificate(shown)


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(getattr(error, "reason", "") or error.strerror or type(error).__name__)
    return "it is not what it should be (PEM)"


CHECK: Final = Check("certificates", "certificates of the API, the proxy and S3", in_thread(look))
