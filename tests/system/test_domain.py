"""A back end elsewhere: TLS in front of the API, and nobody without a token."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually, step
from tests.system.server import Server

AUTHORITY = "/var/lib/amda-proxy/caddy/pki/authorities/local/root.crt"
"""Caddy makes its own for a name that nobody could certify."""


@pytest.mark.timeout(1200)
def test_a_back_end_elsewhere_speaks_to_the_api_over_tls(published: Path, tmp_path: Path) -> None:
    with Machine("trixie", tmp_path / "machine", more=["caddy"]) as machine:
        # What the installer does before it installs the package, which is there already on a machine without a network.
        machine.run("systemctl", "mask", "--now", "caddy.service")
        server = Server(machine, published)
        with step("install --domain"):
            server.install("--no-minio", "--domain", "localhost", staging=False)
        token = server.amda("token", "create", "back end", "--scope", "operate")["secret"]

        def ask(*options: str) -> tuple[str, str]:
            done = machine.run("curl", "-sS", "--cacert", AUTHORITY, "-w", "\n%{http_code}", *options, check=False)
            body, _, status = done.stdout.rpartition("\n")
            return status, body

        with step("over TLS with a token, and not without"):
            eventually("the proxy has its certificate", machine.path(AUTHORITY).exists, 30)
            url = "https://localhost/v1/status"
            eventually("it answers", lambda: ask(url)[0] == "401", 30)
            status, body = ask("-H", f"Authorization: Bearer {token}", url)
            assert status == "200", body
            assert json.loads(body)["sessions"] == {}
            assert ask("http://localhost/v1/status")[0] == "308", "nobody sends a token in clear text"
        said = machine.run("systemd-analyze", "security", "--no-pager", "amda-proxy.service").stdout
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found
        assert float(found[1]) <= 2.0
