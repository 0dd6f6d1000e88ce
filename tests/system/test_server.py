"""The life of a server: installed, used, killed, rebooted, cut off from power, installed again, left."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually, step
from tests.system.server import ONLINE_S, UNITS, Server

SESSIONS = ("awa", "binta", "cheikh")
HEALTHY_S = 120.0
"""What a bare server may take from the newcomer's command to healthy: users, release, environment, units and all; only
packages are at hand, those of the system installed and Python's in a folder."""
RESTART_S = 30.0
"""A unit whose process was killed is started again after a second; some more on a busy machine."""
EXPOSURE = 2.0
"""The most that `systemd-analyze security` may say of a unit."""
OF_THE_HOST = frozenset({"clock", "kernel", "memory", "swap", "disk", "quota", "ports", "timezone"})
"""What the doctor says of the machine that the container runs on."""
NOISE = re.compile(
    r"^(var/log/|var/lib/systemd/|var/lib/private|var/cache/ldconfig|var/tmp/|tmp/|root/|run/|srv/|var/\.updated"
    r"|etc/(passwd|group|shadow|gshadow|subuid|subgid|machine-id|\.pwd\.lock|\.updated|resolv\.conf))"
)
"""What any machine writes while it runs, and what the test brings."""
OF_WHATSAPP = re.compile(
    r"^(opt|var/lib)/staging(/|$)|^etc/systemd/system/(multi-user\.target\.wants/)?staging\.service$"
)
"""What stays on a server that is bare but for WhatsApp."""


def left_on(machine: Machine) -> set[str]:
    return {name for name in machine.added() if not NOISE.match(name)}


@pytest.mark.timeout(1200)
def test_life_of_a_server(machine: Machine, published: Path) -> None:
    server = Server(machine, published)
    untouched = left_on(machine)
    with step("put WhatsApp beside it, and nothing of the appliance"):
        server.start_whatsapp(bare=True)
        assert {name for name in left_on(machine) - untouched if not OF_WHATSAPP.match(name)} == set()
        assert "amda" not in machine.path("/etc/passwd").read_text()
    _install(server)
    with step("link three sessions"):
        for session in SESSIONS:
            server.link(session)
        assert server.all_online()
    with step("who goes first when memory runs out"):
        sys.stderr.write(f"{server.check_order_of_deaths(len(SESSIONS))} … ")
    with step("a status is kept"):
        server.send_status(SESSIONS[0])
        eventually("one item of media", lambda: server.media() == 1, 30)
    _knows_who_asks(server)
    _restart_drops_nobody(server)
    _says_goodbye(server)
    _survives_kills(server)
    with step("reboot"):
        machine.reboot()
        server.await_online()
    with step("power cut"):
        machine.cut_power()
        machine.boot()
        server.await_online()
    with step("install again"):
        pids = server.main_pids()
        done = server.install()
        assert "nothing changed" in done.stderr, done.stderr
        assert server.main_pids() == pids
    _leave(server, untouched)


def _install(server: Server) -> None:
    with step("curl … | bash"):
        started = time.monotonic()
        done = server.install_by_pipe()
        took = time.monotonic() - started
        assert re.search(r"installed in \d+ s", done.stderr), done.stderr
        assert re.search(r"healthy: \d", done.stderr), done.stderr
        sys.stderr.write(f"healthy after {took:.0f} s (at most {HEALTHY_S:.0f}) … ")
        assert took <= HEALTHY_S
    with step("units: verified and hardened"):
        files = [f"/etc/systemd/system/{unit}" for unit in (*server.units(), "amda.target", "amda.slice")]
        verified = server.machine.run("systemd-analyze", "verify", *files)
        assert verified.stdout + verified.stderr == ""
        for unit in server.units():
            said = server.machine.run("systemd-analyze", "security", "--no-pager", unit).stdout
            found = re.search(r"exposure level for \S+: ([\d.]+)", said)
            assert found, said
            assert float(found[1]) <= EXPOSURE, said
    with step("units: what is theirs when memory runs out, and what the journal may take"):
        unit = server.machine.unit
        assert unit("amda-sessions.service", "OOMPolicy") == "continue"
        promised = sum(int(unit(name, "MemoryMin")) for name in ("amda.service", "amda-redis.service"))
        assert int(unit("amda.slice", "MemoryMin")) == promised > 0
        for name in ("amda.service", "amda-redis.service"):
            assert unit(name, "ControlGroup") == f"/amda.slice/{name}"
        journald = server.machine.run("systemd-analyze", "cat-config", "systemd/journald.conf").stdout
        assert re.search(r"^SystemMaxUse=300M$", journald, re.MULTILINE)
        assert re.search(r"^MaxRetentionSec=1month$", journald, re.MULTILINE)
    assert server.amda("status")["degraded"] == []


def _knows_who_asks(server: Server) -> None:
    """As root, and as an ordinary member of the group, who sees as much: the daemon looks for them."""
    machine = server.machine
    machine.run("useradd", "--groups", "amda", "ousmane")
    ousmane = ("runuser", "-u", "ousmane", "--", "amda")
    with step("the doctor finds nothing wrong"):
        for who in (("amda",), ousmane):
            said = json.loads(machine.run(*who, "doctor", "--json", check=False).stdout)
            wrong = [one for one in said["findings"] if one["severity"] == "problem"]
            assert {one["check"] for one in wrong} <= OF_THE_HOST, wrong
            hidden = {one["check"] for one in said["findings"] if one["partial"]}
            assert hidden <= OF_THE_HOST, hidden
            found = {one["check"]: one for one in said["findings"]}
            assert found["units"]["severity"] == "ok", found["units"]
            assert found["workers"]["found"].startswith(f"{len(SESSIONS)} processes")
            assert found["journald"]["severity"] == "ok"
    with step("the audit knows local users by name"):
        token = json.loads(machine.run(*ousmane, "token", "create", "probe", "--json").stdout)
        machine.run("amda", "token", "revoke", token["details"]["id"])
        entries = server.amda("audit")
        assert {one["who"] for one in entries if one["action"] == "tokens_create"} == {"user:ousmane"}
        assert {one["who"] for one in entries if one["action"] == "tokens_revoke"} == {"user:root"}
        assert all(one["address"].startswith("pid ") for one in entries if one["action"].startswith("tokens_"))
    machine.run("userdel", "ousmane")


def _restart_drops_nobody(server: Server) -> None:
    with step("systemctl restart amda: nobody is disconnected"):
        before, ledger = server.connections(), server.amda("history")
        pids = server.main_pids()
        server.machine.run("systemctl", "restart", "amda.service")
        server.await_online(within_s=10)
        after = server.main_pids()
        assert after["amda.service"] != pids["amda.service"]
        assert after["amda-sessions.service"] == pids["amda-sessions.service"]
        assert server.connections() == before, "WhatsApp has seen no new connection"
        assert server.amda("history") == ledger


def _says_goodbye(server: Server) -> None:
    """Stopped in order is another thing than killed: nothing hangs, nobody is charged, and all are back."""
    machine, unit = server.machine, "amda-sessions.service"
    with step("stop of amda-sessions: a goodbye to WhatsApp"):
        before = len(server.journal("closed"))
        machine.run("systemctl", "stop", unit)
        assert machine.unit(unit, "Result") == "success", "nobody had to be killed"
        assert machine.unit(unit, "ExecMainStatus") == "0"
        closed = server.journal("closed")[before:]
        assert {entry["account"] for entry in closed} == set(server.phones.values())
        assert {(entry["data"]["by"], entry["data"]["stalled"]) for entry in closed} == {("client", False)}
        for log in machine.path("/var/lib/amda/sessions").glob("*/*/worker.log"):
            assert "ending: STOPPED" in log.read_text(), log
    with step("and started: all online"):
        machine.run("systemctl", "start", unit)
        server.await_online()
        assert not any(row["charged"] for row in server.amda("history"))


def _survives_kills(server: Server) -> None:
    for unit in server.units():
        with step(f"kill -9 of {unit}"):
            pid = server.machine.unit(unit, "MainPID")
            server.machine.run("systemctl", "kill", "--signal=KILL", "--kill-who=main", unit)
            eventually(
                f"{unit} runs again",
                lambda unit=unit, pid=pid: (
                    server.machine.unit(unit, "ActiveState") == "active" and server.machine.unit(unit, "MainPID") != pid
                ),
                RESTART_S,
            )
            server.await_online()
            eventually("nothing degraded", lambda: server.amda("status", check=False), ONLINE_S)


def _leave(server: Server, untouched: set[str]) -> None:
    machine = server.machine
    with step("uninstall: data stays"):
        machine.run("/opt/amda/current/install.sh", "uninstall")
        assert set(server.connections().values()) == {None}, "the devices are linked still, and away"
        for gone in (
            "/opt/amda",
            "/usr/local/bin/amda",
            "/run/amda",
            *(f"/etc/systemd/system/{unit}" for unit in UNITS),
        ):
            assert not machine.path(gone).exists(), gone
        assert machine.path("/var/lib/amda/amda.db").exists()
    with step("install once more: all online without pairing"):
        server.install()
        server.await_online()
        assert server.media() == 1
    with step("purge: nothing stays"):
        machine.run("systemctl", "disable", "--now", "staging.service")
        machine.run("rm", "-r", "/opt/staging", "/etc/systemd/system/staging.service", "/var/lib/staging")
        machine.run("sh", "/srv/amda/install.sh", "uninstall", "--purge", "--yes", "--offline", server.bundle)
        assert "amda" not in machine.path("/etc/passwd").read_text()
        assert left_on(machine) - untouched == set()
