"""Another release and another engine, on a real machine: who is disconnected when, and everything back again.

The network's journal is the judge. What is allowed: nothing while the daemon and the fork server change; then exactly
one new login of each session for each way that it moves, which the ledger calls `moved` and charges to nobody.
"""

from __future__ import annotations

import collections
import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import other_release
from tests.system.conftest import PYTHONS
from tests.system.machine import Machine, cache_folder, eventually, step
from tests.system.server import STAGING, STAGING_COMMAND, Server

SESSIONS = ("awa", "binta", "cheikh")
WATCH = ("--canary", "1", "--watch", "10")
UPGRADE_S = 300.0


class Judge:
    """What the network has seen of connections since the last look."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen = len(self._entries())

    def _entries(self) -> list[dict[str, Any]]:
        command = (*STAGING_COMMAND, "journal", "--kind", "login", "--kind", "closed", "--last", "1000000", "--json")
        done = self._server.machine.run(*command, "--folder", STAGING, environment={"PYTHONPATH": "/opt/staging"})
        return [json.loads(line) for line in done.stdout.splitlines()]

    def since(self) -> tuple[dict[str, int], dict[str, int]]:
        """Logins and closed connections of each account."""
        entries = self._entries()
        fresh, self._seen = entries[self._seen :], len(entries)
        logins = collections.Counter(entry["account"] for entry in fresh if entry["kind"] == "login")
        closed = collections.Counter(entry["account"] for entry in fresh if entry["kind"] == "closed")
        return dict(logins), dict(closed)


@pytest.fixture(params=["trixie"])
def server(request: pytest.FixtureRequest, published: Path, tmp_path: Path) -> Iterator[Server]:
    with Machine(request.param, tmp_path / "machine", ("restic",)) as machine:
        server = Server(machine, published)
        with step("install, and link three sessions"):
            server.start_whatsapp()
            server.install("--no-minio")
            for session in SESSIONS:
                server.link(session)
            assert server.all_online()
        yield server


def bring(server: Server, bundle: Path) -> str:
    target = server.machine.path("/srv/next")
    target.mkdir(exist_ok=True)
    shutil.copy(bundle, target)
    return f"/srv/next/{bundle.name}"


def bundle_of(checkout: Path, out: Path) -> Path:
    options = ["--offline", platform.machine(), "--python", PYTHONS, "--wheels", str(cache_folder() / "wheels")]
    return other_release.build(checkout, out, options)


def upgrade(server: Server, *options: str, check: bool = True) -> Any:
    done = server.machine.run("amda", "upgrade", "--yes", "--json", *options, check=check, timeout_s=UPGRADE_S)
    return json.loads(done.stdout.splitlines()[-1]), done


def builds(server: Server) -> set[str]:
    return {view["build"] for view in server.amda("session", "list")}


def reasons(server: Server) -> collections.Counter[tuple[str, str, bool]]:
    rows = server.amda("history")
    return collections.Counter((row["session"], row["reason"], row["charged"]) for row in rows)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("server", ["bookworm", "trixie"], indirect=True)
def test_a_release_and_back(server: Server, tmp_path: Path) -> None:
    machine, phones = server.machine, server.phones
    with step("build the next release"):
        bundle = bring(server, bundle_of(other_release.changed_checkout(tmp_path / "next"), tmp_path / "out"))
    old = server.amda("version")["release"]
    with step("a backup, as there is one after the first night"):
        first = server.amda("backup", "run")
    judge, pids, ledger = Judge(server), server.main_pids(), reasons(server)
    with step("what it would do"):
        done = machine.run("amda", "upgrade", "--to", bundle, "--dry-run", *WATCH)
        assert other_release.NEWS in done.stderr, "the changelog is shown"
        assert "schema" in done.stderr
        assert judge.since() == ({}, {})
    with step("killed in the middle of the canary's watch"):
        running = machine.start("amda", "upgrade", "--yes", "--json", "--to", bundle, "--canary", "1", "--watch", "600")
        assert running.stderr is not None
        for line in running.stderr:
            if "1 of 1 sessions" in line:
                break
        machine.run("sh", "-c", "kill -KILL $(cat /opt/amda/upgrade/lock)")
        assert running.wait(10) != 0
        assert server.all_online()
        status = json.loads(machine.run("amda", "upgrade", "--status", "--json").stdout)
        assert (status["step"], status["outcome"]) == ("canary", None)
        refused = server.machine.run("/opt/amda/current/install.sh", check=False)
        assert refused.returncode == 37, refused.stderr
    with step("the other sessions are where they were"):
        logins, closed = judge.since()
        assert sum(logins.values()) == sum(closed.values()) == 1, "the canary has moved, and nobody else"
        after = server.main_pids()
        assert after["amda-sessions.service"] == pids["amda-sessions.service"], "the fork server changed in place"
        assert after["amda.service"] != pids["amda.service"]
        assert after["amda-redis.service"] == pids["amda-redis.service"]
    with step("gone on with, at the patience of a test"):
        state = machine.path("/opt/amda/upgrade/release.json")
        state.write_text(state.read_text().replace('"watch_s": 600.0', '"watch_s": 10.0'))
        journal, _ = upgrade(server)
        assert (journal["outcome"], journal["error"]) == ("done", "")
    with step("a backup of everything was made before anything changed"):
        saved = server.amda("backup", "list")
        assert [(one["reason"], one["release"]) for one in saved] == [("before-upgrade", old), ("operator", old)]
        assert saved[1]["id"] == first["id"]
    with step("everybody has moved, once"):
        assert server.amda("version")["release"] == other_release.VERSION
        assert builds(server) == {journal["target"]["name"]}
        logins, closed = judge.since()
        assert sum(logins.values()) == sum(closed.values()) == len(SESSIONS) - 1
        assert server.all_online()
        moved = {(session, "moved", False): 1 for session in SESSIONS}
        assert reasons(server) - ledger == moved
        for session in SESSIONS:
            assert other_release.SAYS in machine.run("amda", "logs", session).stdout
    _login_after_it(server)
    with step("roll back"):
        judge.since()
        journal, _ = upgrade(server, "--rollback")
        assert (journal["outcome"], journal["error"]) == ("undone", "")
        assert server.amda("version")["release"] == old
        server.await_online()
        assert builds(server) == {journal["source"]["name"]}
        logins, closed = judge.since()
        assert logins == closed == dict.fromkeys(phones.values(), 1), "each session once, the one linked since too"
        assert set(server.states()) == {*SESSIONS, "dado"}, "no session is lost"
        assert server.main_pids()["amda-sessions.service"] == pids["amda-sessions.service"]
    with step("a reboot finds everything as it was"):
        machine.reboot()
        server.await_online()
        assert builds(server) == {journal["source"]["name"]}


def _login_after_it(server: Server) -> None:
    with step("link one more, with the changed database"):
        server.link("dado")
        server.send_status("dado")
        eventually("one item of media", lambda: server.media() == 1, 30)


@pytest.mark.timeout(900)
def test_a_release_whose_sessions_do_not_come_back_and_another_engine(
    server: Server, tmp_path: Path, published: Path
) -> None:
    machine = server.machine
    judge, before = Judge(server), builds(server)
    with step("a release whose workers die: the canary takes everything back"):
        checkout = other_release.changed_checkout(tmp_path / "broken", "0.9.1", broken=True)
        bundle = bring(server, bundle_of(checkout, tmp_path / "out"))
        journal, done = upgrade(server, "--to", bundle, *WATCH, check=False)
        assert done.returncode == 1
        assert "E52" in done.stderr, done.stderr
        assert (journal["outcome"], journal["step"]) == ("undone", "back_rest")
        server.await_online()
        assert builds(server) == before
        logins, _ = judge.since()
        assert set(logins) == {server.phones[server_session(server, logins)]}, "nobody but the canary was touched"
    with step("an engine: rehearsed, admitted, moved to"):
        wheel = other_release.changed_engine(
            cache_folder() / "wheels" / platform.machine(), machine.path("/srv/engine")
        )
        inside = f"/srv/engine/{wheel.name}"
        made = machine.run("amda", "engine", "upgrade", "--to", inside, "--yes", "--json", *WATCH, timeout_s=UPGRADE_S)
        journal = json.loads(made.stdout.splitlines()[-1])
        assert journal["outcome"] == "done"
        approved = json.loads(machine.path("/opt/amda/engines/approved.json").read_text())
        assert list(approved["sha256"]) == [other_release.library_hash(wheel)]
        assert server.all_online()
        assert builds(server) == {f"{name}+{journal['target']['name']}" for name in before}
        logins, closed = judge.since()
        assert logins == closed == dict.fromkeys(server.phones.values(), 1)
    with step("it is what a machine that starts has"):
        machine.reboot()
        server.await_online()
        assert builds(server) == {f"{name}+{journal['target']['name']}" for name in before}
        judge.since()
    with step("the release's own engine again"):
        machine.run("amda", "engine", "upgrade", "--rollback", "--yes", timeout_s=UPGRADE_S)
        assert builds(server) == before
        logins, closed = judge.since()
        assert logins == closed == dict.fromkeys(server.phones.values(), 1)


def server_session(server: Server, logins: dict[str, int]) -> str:
    """The session of the only account that logged in."""
    [account] = logins
    return next(session for session, phone in server.phones.items() if phone == account)
