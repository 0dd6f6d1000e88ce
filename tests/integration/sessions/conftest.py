"""A real fork server with played engines, a real database and ledger, and the session service on top."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.config import Settings, load_settings
from appliance.database import Database
from appliance.forkserver.client import ForkServerClient
from appliance.forkserver.environment import missing_from
from appliance.history.ledger import Ledger
from appliance.model import SessionState, SessionView
from appliance.protocol import Event, PairByCode, SendText
from appliance.sessions.link_attempt import LinkAttemptHandle
from appliance.sessions.service import SessionService
from tests.integration.sessions.stand_in import Script, Step

ROOT = Path(__file__).parents[3]
STAND_IN = Path(__file__).with_name("stand_in.py")
WAIT_S = 20.0


class Daemon:
    """The part of a daemon that is under test; can be made anew on the same folder, as after a restart."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.events: list[tuple[str, str, Event]] = []
        self.views: list[SessionView] = []
        self.reject_events = 0
        self._changed = asyncio.Condition()

    async def start(self) -> Daemon:
        self.database = await Database.open(self.settings.paths.database)
        self.fork = ForkServerClient(self.settings.paths.fork_socket)
        await self.fork.__aenter__()
        self.service = SessionService(
            settings=self.settings,
            database=self.database,
            fork=self.fork,
            ledger=Ledger(self.database),
            node_id="node",
        )
        self.service.on_event(self._on_event)
        self.service.on_change(self._on_change)
        await self.service.load()
        return self

    async def stop(self) -> None:
        await self.service.close()
        await self.fork.__aexit__(None, None, None)
        await self.database.close()

    async def _on_event(self, session: str, store: str, event: Event) -> None:
        if self.reject_events:
            self.reject_events -= 1
            raise OSError("the test does not take it")
        self.events.append((session, store, event))
        await self._notify()

    async def _on_change(self, view: SessionView) -> None:
        self.views.append(view)
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], Awaitable[bool]], wait_s: float = WAIT_S) -> None:
        """Wait for a change after which the condition holds."""
        async with asyncio.timeout(wait_s), self._changed:
            while not await condition():
                await self._changed.wait()

    async def reaches(self, session: str, state: SessionState, wait_s: float = WAIT_S) -> SessionView:
        async def holds() -> bool:
            return (await self.service.get(session)).state is state

        try:
            await self.until(holds, wait_s)
        except TimeoutError:
            view = await self.service.get(session)
            raise AssertionError(f"{session} is {view.state} ({view.detail}), not {state}") from None
        return await self.service.get(session)

    async def begin_pairing(self, session: str, attempt: str) -> LinkAttemptHandle:
        """As soon as there is a fork server: on a busy machine the daemon's start has stopped waiting for it."""
        await self.accounted_for()
        return await self.service.begin_pairing(session, attempt)

    async def accounted_for(self, build: str = "") -> None:
        """Until it has counted the workers of a fork server: of any, or of that build, after it has moved."""
        async with asyncio.timeout(WAIT_S):
            while (hello := self.service.forks()) is None or build not in ("", hello.build):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def play(self, session: str, **step: Any) -> None:
        text = msgspec.json.encode(Step(**step)).decode()
        reply = await self.service.command(session, SendText(to="script", text=text), WAIT_S)
        assert reply.error is None

    async def rows(self, session: str) -> list[dict[str, Any]]:
        rows = await self.database.fetch_all("SELECT * FROM disconnections WHERE session = ? ORDER BY id", (session,))
        return [dict(row) for row in rows]

    async def link(self, session: str, attempt: str = "first", *, create: bool = True) -> SessionView:
        """Create and link a session as a person would; returns when it is online."""
        if create:
            await self.service.create(session, session.title())
        handle = await self.begin_pairing(session, attempt)
        assert (await handle.command(PairByCode(phone="221770000012"), WAIT_S)).error is None
        await handle.command(SendText(to="phone", text="types"), WAIT_S)
        async with asyncio.timeout(WAIT_S):
            async for event in handle.events():
                if getattr(event.body, "kind", "") == "connected":
                    break
        await handle.promote()
        return await self.reaches(session, SessionState.ONLINE)


class Bed:
    """Folder, fork server, and daemons on it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[Daemon] = []
        self.fork: asyncio.subprocess.Process | None = None
        self.environment = {
            "AMDA_PATHS_STATE_DIR": str(folder),
            "AMDA_LIMITS_HEARTBEAT_S": "0.2",
            "AMDA_KEEPALIVE_HEARTBEAT_LOST_S": "2",
            "AMDA_KEEPALIVE_EVIDENCE_MAX_AGE_S": "1",
            "AMDA_KEEPALIVE_PROBE_TIMEOUT_S": "0.5",
            "AMDA_KEEPALIVE_CHECK_INTERVAL_S": "0.5",
            "AMDA_KEEPALIVE_STOP_GRACE_S": "2",
            "AMDA_KEEPALIVE_LOGIN_TIMEOUT_S": "3",
            "AMDA_FLEET_STARTS_PER_S": "20",
        }

    async def start_fork_server(self, **variables: str) -> None:
        (self.folder / "run").mkdir(exist_ok=True)
        with (self.folder / "forkserver.log").open("ab") as log:
            self.fork = await asyncio.create_subprocess_exec(
                sys.executable,
                STAND_IN,
                "1.0",
                "--socket",
                self.folder / "run" / "fork.sock",
                "--stop-grace",
                "1",
                env={**os.environ, **missing_from(os.environ), "PYTHONPATH": str(ROOT), **variables},
                stderr=log,
            )

    def release(self, name: str) -> str:
        """A program that passes for the interpreter of another release, which speaks today's protocol."""
        script = self.folder / f"python-{name}"
        script.write_text(
            "#!/bin/sh\nunset AMDA_TEST_PROTOCOL\n"
            f'PYTHONPATH="{ROOT}" exec "{sys.executable}" "{STAND_IN}" {name} "$@"\n'
        )
        script.chmod(0o700)
        return str(script)

    async def kill_fork_server(self) -> None:
        assert self.fork is not None
        self.fork.send_signal(signal.SIGKILL)
        await self.fork.wait()

    async def daemon(self, **settings: str) -> Daemon:
        environment = {**self.environment, **settings}
        daemon = Daemon(load_settings(None, environment))
        self.daemons.append(daemon)
        return await daemon.start()

    async def stop_daemon(self, daemon: Daemon) -> None:
        self.daemons.remove(daemon)
        await daemon.stop()

    def script(self, session: str, **script: Any) -> None:
        folder = self.folder / "sessions" / session
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "script.json").write_bytes(msgspec.json.encode(Script(**script)))

    def journal(self, session: str, word: str = "") -> list[tuple[str, int, float]]:
        """What the played network counted: (word, process, time)."""
        path = self.folder / "sessions" / session / "journal"
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        found = [line.split() for line in lines]
        return [(kind, int(pid), float(at)) for kind, pid, at in found if not word or kind == word]


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    bed = Bed(tmp_path)
    await bed.start_fork_server()
    yield bed
    for daemon in list(bed.daemons):
        await bed.stop_daemon(daemon)
    if bed.fork is not None and bed.fork.returncode is None:
        bed.fork.terminate()
        try:
            await asyncio.wait_for(bed.fork.wait(), 10)
        except TimeoutError:
            bed.fork.kill()


def wall() -> float:
    return time.time()
