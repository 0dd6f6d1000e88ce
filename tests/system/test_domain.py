"""A back end elsewhere: TLS in front of the API, and nobody without a token."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine import ROOT, Machine, eventually, step
from tests.system.server import Server

AUTHORITY = "/var/lib/amda-proxy/caddy/pki/authorities/local/root.crt"
"""Caddy makes its own for a name that nobody could certify."""
TRUSTED = "/srv/authority.crt"
"""The same where a back end can read it, which has no right on this machine."""
URL = "https://localhost"
PHONE = "221771234599"
LAST_S = 10.0


class BackEnd:
    """back_end.py, and what it has told."""

    def __init__(self, machine: Machine, token: str) -> None:
        shutil.copy(Path(__file__).with_name("back_end.py"), machine.path("/srv/back_end.py"))
        script = ("python3", "-u", "/srv/back_end.py", URL, token, TRUSTED, "user-1", f"+{PHONE}")
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        self.process = machine.start(*nobody, *script, stdin=subprocess.PIPE)
        self.told: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def heard(self, name: str, value: object = ...) -> Any:
        """The first thing that it told by that name."""
        found = [one for one in self.told if name in one and (value is ... or one[name] == value)]
        return found[0] if found else None

    def until(self, name: str, value: object = ..., within_s: float = 60) -> Any:
        try:
            eventually(f"the back end tells of {name}", lambda: self.heard(name, value), within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it told: {self.told}; {self.end()}") from None
        return self.heard(name, value)

    def end(self) -> str:
        """It ends when its standard input does; what it said on its standard error."""
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        self._reader.join(LAST_S)
        return "" if self._reader.is_alive() else self.process.stderr.read()


@pytest.mark.timeout(1200)
def test_a_back_end_elsewhere_speaks_to_the_api_over_tls(published: Path, tmp_path: Path) -> None:
    with Machine("trixie", tmp_path / "machine", more=["caddy"]) as machine:
        # What the installer does before it installs the package, which is there already on a machine without a network.
        machine.run("systemctl", "mask", "--now", "caddy.service")
        server = Server(machine, published)
        server.start_whatsapp()
        with step("install --domain"):
            server.install("--no-minio", "--domain", "localhost")
        token = server.amda("token", "create", "back end", "--scope", "operate")["secret"]
        eventually("the proxy has its certificate", machine.path(AUTHORITY).exists, 30)
        machine.path(TRUSTED).write_bytes(machine.path(AUTHORITY).read_bytes())
        with step("over TLS with a token, and not without"):
            _door(machine, token)
        with step("every command of docs/hybrid.md"):
            _commands(machine, token)
        with step("a back end: events, link, restart, media, webhooks"):
            server.machine.run("amda", "config", "set", "webhooks.private_networks", "127.0.0.1")
            _back_end(server, token)
        verified = machine.run("systemd-analyze", "verify", "/etc/systemd/system/amda-proxy.service")
        assert verified.stdout + verified.stderr == ""
        said = machine.run("systemd-analyze", "security", "--no-pager", "amda-proxy.service").stdout
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found
        assert float(found[1]) <= 2.0
        with step("install --no-domain, with settings that were edited meanwhile"):
            _shut(server)


def _shut(server: Server) -> None:
    machine = server.machine
    assert "127.0.0.1:8480" in machine.path("/etc/amda/amda.toml").read_text()
    said = server.install("--no-domain").stderr
    settings = machine.path("/etc/amda/amda.toml").read_text()
    assert "8480" not in settings, said
    assert "private_networks" in settings, "what was edited stays"
    assert not machine.path("/etc/amda/amda.toml.new").exists()
    log = machine.run("journalctl", "-u", "amda-proxy", "-n", "12", "-o", "cat").stdout
    assert machine.unit("amda-proxy.service", "ActiveState") == "inactive", log
    eventually("the session is online", lambda: server.states() == {"user-1": "online"}, 60)
    assert "nothing changed" in server.install().stderr


def _door(machine: Machine, token: str) -> None:
    def ask(*options: str) -> tuple[str, str]:
        done = machine.run("curl", "-sS", "--cacert", TRUSTED, "-w", "\n%{http_code}", *options, check=False)
        body, _, status = done.stdout.rpartition("\n")
        return status, body

    url = f"{URL}/v1/status"
    eventually("it answers", lambda: ask(url)[0] == "401", 30)
    status, body = ask("-H", f"Authorization: Bearer {token}", url)
    assert status == "200", body
    assert json.loads(body)["sessions"] == {}
    assert ask("http://localhost/v1/status")[0] == "308", "nobody sends a token in clear text"


def _commands(machine: Machine, token: str) -> None:
    """The page is what somebody will paste: each block, as it stands."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "hybrid.md").read_text(), re.DOTALL)
    assert len(blocks) == 5, "this test still finds them"
    environment = {"AMDA_URL": URL, "AMDA_TOKEN": token, "CURL_CA_BUNDLE": TRUSTED}
    answers = [machine.run("bash", "-ec", block, environment=environment).stdout for block in blocks]
    assert json.loads(answers[1])["id"] == "user-4711"
    assert "data: " in answers[2]
    asked = json.loads(answers[3])
    assert asked["session"] == "user-4711"
    machine.run("amda", "pairing", "cancel", asked["id"])
    remove = ("amda", "session", "remove", "user-4711", "--purge")
    eventually("the attempt has ended", lambda: machine.run(*remove, check=False).returncode == 0, 30)


def _back_end(server: Server, token: str) -> None:
    server.staging("add-account", PHONE, "--name", "user")
    back_end = BackEnd(server.machine, token)
    try:
        hooks = back_end.until("hooks")["hooks"]
        secret = server.amda("webhook", "add", "hooks", hooks, "--event", "media.stored")["secret"]
        assert back_end.process.stdin is not None
        back_end.process.stdin.write(f"{secret}\n")
        back_end.process.stdin.flush()
        assert back_end.until("session")["repeated"] is True
        code = back_end.until("code")
        assert code["seconds"] > 60
        server.staging("type-code", PHONE, code["code"], "--now")
        assert back_end.until("linked")["linked"] is True
        back_end.until("state", "online")
        server.machine.run("systemctl", "restart", "amda.service")
        back_end.until("stream")
        server.phones["user-1"] = PHONE
        server.send_status("user-1")
        got = back_end.until("downloaded")
        assert got["same"] is True
        assert got["part"] is True
        assert back_end.until("webhook", "media.stored")["genuine"] is True
    finally:
        said = back_end.end()
    assert said == ""
