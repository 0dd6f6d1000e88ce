"""Open ports: real listeners on loopback, and lists of machines that are open to the world."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliance.doctor.machine.ports import CHECK, Listener, judge
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities, worst

S3 = {"storage_endpoint": "http://127.0.0.1:9000"}
REDIS = {"redis_url": "redis://127.0.0.1:6379"}
API = {"api_listen": "127.0.0.1:8480"}


@pytest.mark.parametrize(
    ("settings", "listener", "severity", "found"),
    [
        (S3, Listener("0.0.0.0", 9000, "minio"), Severity.PROBLEM, "the object store"),  # noqa: S104
        (S3, Listener("::", 9000, ""), Severity.PROBLEM, "the object store"),
        (S3, Listener("127.0.0.1", 9000, "minio"), Severity.OK, "nothing of the appliance"),
        (S3, Listener("::ffff:127.0.0.1", 9000, "minio"), Severity.OK, "nothing of the appliance"),
        (REDIS, Listener("192.0.2.7", 6379, "redis-server"), Severity.PROBLEM, "Redis"),
        (API, Listener("192.0.2.7", 8480, "amda"), Severity.PROBLEM, "without TLS"),
        ({**API, "api_trusted_proxies": "192.0.2.1"}, Listener("::", 8480, "amda"), Severity.INFO, "takes proxies"),
        ({}, Listener("0.0.0.0", 22, "sshd"), Severity.INFO, "22 (sshd)"),  # noqa: S104
        ({"storage_endpoint": "https://s3.example.org"}, Listener("::", 443, "caddy"), Severity.INFO, "443 (caddy)"),
    ],
)
def test_what_it_means(
    tmp_path: Path, settings: dict[str, str], listener: Listener, severity: Severity, found: str
) -> None:
    seen = worst(judge(make_patient(tmp_path, **settings), [listener]))
    assert seen.severity is severity
    assert found in seen.found


def test_with_tls(tmp_path: Path) -> None:
    settings = {**API, "api_certificate": str(tmp_path / "c.pem"), "api_key": str(tmp_path / "k.pem")}
    seen = worst(judge(make_patient(tmp_path, **settings), [Listener("::", 8480, "amda")]))
    assert seen.severity is Severity.INFO
    assert "with TLS" in seen.found


def test_this_machine(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        seen = look(CHECK, make_patient(tmp_path, storage_endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert Severity.PROBLEM not in severities(seen), "it listens, and on this machine only"
