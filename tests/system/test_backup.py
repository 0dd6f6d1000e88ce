"""A machine is lost, and another one goes on with its backup: nobody links anything anew."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually, step
from tests.system.server import STAGING, Server
from tests.system.test_server import EXPOSURE

SESSIONS = ("awa", "binta", "cheikh")
REPOSITORY = "/var/lib/amda-backup"
UNITS = ("amda-backup.service", "amda-backup.timer")
KEY = "/etc/amda/secrets/backup-key"
REFUSED = 4
"""Exit status of what is not allowed now."""


@pytest.mark.timeout(1200)
def test_destroyed_and_restored_on_another_machine(tmp_path: Path, published: Path) -> None:
    kept = tmp_path / "kept elsewhere"
    kept.mkdir()
    with Machine("bookworm", tmp_path / "old", ("restic",)) as machine:
        phones, media = _live_and_die(Server(machine, published), kept)
    with Machine("trixie", tmp_path / "new", ("restic",)) as machine:
        _go_on(Server(machine, published), kept, phones, media)


def _live_and_die(server: Server, kept: Path) -> tuple[dict[str, str], int]:
    machine = server.machine
    with step("a server with three sessions"):
        server.start_whatsapp()
        server.install()
        for session in SESSIONS:
            server.link(session)
            server.send_status(session)
        eventually("three items of media", lambda: server.media() == len(SESSIONS), 60)
    _units(machine)
    with step("the nightly backup"):
        before = server.connections()
        machine.run("systemctl", "start", UNITS[0])
        record = server.amda("backup", "status")["record"]
        assert (record["last_run"]["sessions"], record["last_run"]["reason"]) == (len(SESSIONS), "timer")
        assert record["last_check"]["id"] == record["last_run"]["id"], "taken out again and compared"
        assert record["error"] == ""
        listed = machine.run(
            *("restic", "--repo", REPOSITORY, "--password-file", KEY, "--no-lock", "--no-cache", "ls", "latest")
        ).stdout
        assert "/settings/etc/amda/install.conf" in listed, "root's own files are in it, too"
        assert KEY not in listed
    with step("one by hand, with media"):
        made = server.amda("backup", "run", "--media")
        assert made["media"] >= 1
        assert server.connections() == before, "nobody was disconnected"
        _belongs_to_nobody_else(machine)
    with step("the key: the doctor asks until it is kept elsewhere"):
        assert _asked_for_the_key(machine)
        key = server.amda("backup", "key")["key"]
        assert _asked_for_the_key(machine), "who has seen it need not have kept it"
        server.amda("backup", "key", "--confirm")
        assert not _asked_for_the_key(machine)
    with step("a daemon that finds a repository takes its lease"):
        machine.run("systemctl", "restart", "amda.service")
        eventually("the lease", lambda: server.amda("backup", "lease", check=False), 10)
    for session in SESSIONS:  # the keys of the backup are stale from here on
        server.send_status(session)
    eventually("more media", lambda: server.media() == 2 * len(SESSIONS), 60)
    machine.cut_power()
    shutil.copytree(machine.path(REPOSITORY), kept / "repository")
    shutil.copytree(machine.path(STAGING), kept / "whatsapp", ignore=shutil.ignore_patterns("*.sock"))
    (kept / "key").write_text(key)
    return server.phones, int(made["media"])


def _asked_for_the_key(machine: Machine) -> bool:
    """Whether the doctor asks if the key of the backups is kept off this machine."""
    return "amda backup key" in machine.run("amda", "doctor", "--json", check=False).stdout


def _units(machine: Machine) -> None:
    with step("units: verified, hardened, due"):
        verified = machine.run("systemd-analyze", "verify", *(f"/etc/systemd/system/{unit}" for unit in UNITS))
        assert verified.stdout + verified.stderr == ""
        said = machine.run("systemd-analyze", "security", "--no-pager", UNITS[0]).stdout
        found = re.search(r"exposure level for \S+: ([\d.]+)", said)
        assert found, said
        assert float(found[1]) <= EXPOSURE, said
        assert machine.unit(UNITS[1], "ActiveState") == "active"
        assert machine.unit(UNITS[1], "NextElapseUSecRealtime")


def _belongs_to_nobody_else(machine: Machine) -> None:
    for folder in (REPOSITORY, "/var/lib/amda/backups"):
        found = machine.run("find", folder, "(", "!", "-user", "amda", "-o", "-perm", "/077", ")").stdout
        assert found == "", found


def _go_on(server: Server, kept: Path, phones: dict[str, str], media: int) -> None:
    machine = server.machine
    with step("a new server, and the same WhatsApp"):
        shutil.copytree(kept / "whatsapp", machine.path(STAGING))
        shutil.copytree(kept / "repository", machine.path("/srv/repository"))
        shutil.copy(kept / "key", machine.path("/srv/key"))
        server.start_whatsapp()
        server.install()
        assert server.states() == {}
    _units(machine)
    restore = ("amda", "backup", "restore", "--from", "/srv/repository", "--key-file", "/srv/key", "--json")
    with step("the old one was alive a minute ago: refused"):
        refused = machine.run(*restore, check=False)
        assert refused.returncode == REFUSED, refused.stderr
        assert "still runs these sessions" in json.loads(refused.stderr.splitlines()[-1])["error"]
        assert server.states() == {}
    with step("restored"):
        done = machine.run(*restore, "--old-machine-is-off")
        report = json.loads(done.stdout.splitlines()[-1])
        assert sorted(report["sessions"]) == sorted(SESSIONS)
        assert (report["media"], report["media_missing"]) == (media, 0)
    server.phones = phones
    with step("all online without pairing"):
        server.await_online()
        eventually("all media", lambda: server.media() >= media, 30)
        before = server.media()
        for session in SESSIONS:
            server.send_status(session)
        eventually("messages arrive", lambda: server.media() >= before + len(SESSIONS), 60)
    with step("it is this machine's own from here on"):
        assert server.amda("status")["degraded"] == []
        machine.run("systemctl", "start", UNITS[0])
        assert server.amda("backup", "status")["record"]["last_run"]["sessions"] == len(SESSIONS)
        _belongs_to_nobody_else(machine)
        server.install()
        server.await_online()
