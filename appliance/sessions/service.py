"""What the other rooms of the daemon see of the sessions: create, show, start, stop, restart, link, command, remove."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from appliance.config import Settings
from appliance.database import Database
from appliance.forkserver.client import ForkServerClient
from appliance.interfaces import EventCallback, RemovalCallback
from appliance.model import SESSION_ID_PATTERN, PairingState, SessionState, SessionView
from appliance.model_backup import RestoreSession
from appliance.model_capture import CaptureChange, CaptureView
from appliance.problems import ProblemError, conflict, invalid, not_found, timed_out, unavailable
from appliance.protocol import CommandBody, ForkHello, Heartbeat, Reply
from appliance.sessions import inputs as i
from appliance.sessions.breaker import BreakerState
from appliance.sessions.clock import SteadyClock
from appliance.sessions.link_attempt import LinkAttemptHandle
from appliance.sessions.linking import DrainCallback, Linking
from appliance.sessions.locks import OperationLocks
from appliance.sessions.memory import Phase
from appliance.sessions.ownership import Ownership, SingleNode
from appliance.sessions.proxy import ProxyError, check_proxy
from appliance.sessions.reasons import DisconnectReason
from appliance.sessions.registry import LedgerWriter, Registry, SessionRow
from appliance.sessions.runner import SessionRunner
from appliance.sessions.spec import usable_proxy
from appliance.sessions.supervisor import Supervisor
from appliance.sessions.views import FailedLink, Shown, remedy_of, state_of, view_of
from appliance.sessions.worker_link import LinkDownError

NAME_MAX: Final = 80
"""A display name is one line of a table."""

UNLINK_START_S: Final = 15.0
"""How long a session that does not run may take to log in when it is removed: what it takes to log out. Without it the
device stays in the phone's list, and that is said."""
_NOT_TO_BE_STARTED: Final = frozenset(
    {SessionState.REPLACED, SessionState.BANNED, SessionState.OUTDATED, SessionState.NEEDS_PAIRING, SessionState.NEW}
)
"""A login would end another copy's connection, annoy WhatsApp, or is not possible."""

ViewCallback = Callable[[SessionView], Awaitable[None]]

_log = structlog.get_logger(__name__)


class SessionService:
    """Implements `interfaces.SessionControl`. `await load()` before use; `close()` leaves all workers running."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        fork: ForkServerClient,
        ledger: LedgerWriter,
        node_id: str,
        ownership: Ownership | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._node_id = node_id
        self._registry = Registry(database, ledger, wall)
        self._wall = wall
        self._locks = OperationLocks()
        self._supervisor = Supervisor(
            settings=settings,
            registry=self._registry,
            fork=fork,
            ownership=ownership or SingleNode(),
            clock=SteadyClock(wall),
        )
        self._supervisor.change_callbacks.append(self._tell_change)
        self._view_callbacks: list[ViewCallback] = []
        self._removal_callbacks: list[RemovalCallback] = []
        self._linking = Linking(self._supervisor, self._registry, self._locks)
        self._linking_shown: dict[str, Shown] = {}
        self._changed = asyncio.Condition()

    async def load(self) -> None:
        """Read the sessions, adopt the workers that run, start those that should."""
        rows = await self._registry.all()
        await self._supervisor.start(rows)
        for row in rows:
            self._linking.clean_folder(row)
        self._linking.clean_strangers()

    async def close(self) -> None:
        """The daemon ends; every worker goes on and is adopted by the next one."""
        await self._linking.close()
        await self._supervisor.close()

    # ---- registration of other rooms --------------------------------------------------------------------------------

    def on_event(self, callback: EventCallback) -> None:
        """Register before `load`. An event is acknowledged to its worker when every callback has returned."""
        self._supervisor.event_callbacks.append(callback)

    def on_change(self, callback: ViewCallback) -> None:
        """Called with a session's view after each change of its state or explanation."""
        self._view_callbacks.append(callback)

    def on_remove(self, callback: RemovalCallback) -> None:
        """Called when a session's worker has ended for good and its folder still exists."""
        self._removal_callbacks.append(callback)

    def on_drain(self, callback: DrainCallback) -> None:
        """Called before one of a session's stores is deleted: take what lies in its spool."""
        self._linking.drain_callbacks.append(callback)

    async def apply_settings(self, settings: Settings) -> None:
        """New settings while everything runs: numbers count from the next decision on, capture rules at once."""
        before = self._supervisor.settings
        self._supervisor.apply_settings(settings)
        if before.capture != settings.capture:
            await self._supervisor.configure_all()

    # ---- sessions ---------------------------------------------------------------------------------------------------

    async def create(self, session: str, name: str) -> SessionView:
        """A new session, not linked yet. Raises 400 for a bad id or name, 409 if there is one with this id."""
        if not SESSION_ID_PATTERN.fullmatch(session):
            raise invalid(
                "id", f"{session[:40]!r} is no session id.", "Use 1 to 32 of a-z, 0-9 and -, with no - at either end."
            )
        shown = _shown_name(name)
        with self._locks.hold(session, "create"):
            try:
                row = await self._registry.insert(session, shown, self._node_id)
            except sqlite3.IntegrityError as error:
                raise conflict(f"There is a session {session} already.", "Choose another id.") from error
            self._supervisor.add(row)
        await self._tell_change(row)
        return self._view(row)

    async def list(self) -> list[SessionView]:
        """All sessions, oldest first."""
        losses, failed = await self._losses_today(), await self._failed_links()
        return [self._view(runner.row, losses, failed) for runner in self._supervisor.runners.values()]

    def heartbeats(self) -> dict[str, Heartbeat]:
        """What each session's process last reported of itself; who has none or has not reported yet is left out."""
        found = {}
        for session, runner in self._supervisor.runners.items():
            if runner.evidence is not None and runner.evidence.heartbeat is not None:
                found[session] = runner.evidence.heartbeat
        return found

    def states(self) -> dict[SessionState, int]:
        """How many sessions are in each state."""
        runners = self._supervisor.runners.values()
        return dict(
            collections.Counter(
                state_of(runner.row, runner, self._linking_shown.get(runner.row.id)) for runner in runners
            )
        )

    async def get(self, session: str) -> SessionView:
        """One session. Raises 404."""
        row = self._runner(session).row
        return self._view(row, await self._losses_today(), await self._failed_links(session))

    async def start(self, session: str) -> SessionView:
        """Have it run. Raises 409 if it cannot: not linked, or WhatsApp would punish the attempt."""
        runner = self._runner(session)
        with self._locks.hold(session, "start"):
            if refusal := runner.machine.refusal(self._wall()):
                raise conflict(f"Session {session} cannot be started. {refusal}", remedy_of(runner.row))
            self._supervisor.try_now()
            await runner.feed(i.Start())
        return await self.get(session)

    async def stop(self, session: str) -> SessionView:
        """Have it not run; returns when its process has ended."""
        runner = self._runner(session)
        with self._locks.hold(session, "stop"):
            process = runner.process
            await runner.feed(i.Stop())
            if process is not None and runner.machine.phase is Phase.ENDING:
                await process.settled.wait()
        return await self.get(session)

    async def restart(self, session: str) -> SessionView:
        """Have it run in a new process. Raises as `start`."""
        runner = self._runner(session)
        with self._locks.hold(session, "restart"):
            if refusal := runner.machine.refusal(self._wall()):
                raise conflict(f"Session {session} cannot be started. {refusal}", remedy_of(runner.row))
            self._check_would_return(runner)
            self._supervisor.try_now()
            await runner.feed(i.Restart())
        return await self.get(session)

    async def move(self, session: str) -> SessionView:
        """Have it run what the fork server runs now; one that does, or does not run at all, is left alone. Raises 404,
        409 if something else is done with it, 503 without fork server."""
        runner = self._runner(session)
        with self._locks.hold(session, "move"):
            forks = self.forks()
            if forks is None:
                raise unavailable("The fork server does not answer.", "Try again in a moment.")
            hello = None if runner.process is None else runner.process.hello
            if runner.machine.phase is Phase.RUNNING and hello is not None and hello.build != forks.build:
                self._supervisor.try_now()
                await runner.feed(i.Restart(reason=DisconnectReason.MOVED))
        return await self.get(session)

    async def restore(self, session: str, order: RestoreSession) -> SessionView:
        """Have it run with a login that came out of a backup. Raises 404, 409 if something else is done with it, 400 if
        there is no such store."""
        runner = self._runner(session)
        with self._locks.hold(session, "restore"):
            store = self._linking.restored_store(runner.row, order.store)
            process, wanted = runner.process, runner.row.memory.wanted
            await runner.feed(i.Stop())
            if process is not None and runner.machine.phase is Phase.ENDING:
                await process.settled.wait()
            try:  # whoever brought it may have taken it away again
                store = self._linking.restored_store(runner.row, order.store)
            except ProblemError:
                if wanted:
                    await runner.feed(i.Start())
                raise
            await self._linking.restore(runner, store, order)
            await runner.feed(i.Start())
        return await self.get(session)

    def forks(self) -> ForkHello | None:
        """Who forks the processes; None while it does not answer."""
        return self._supervisor.forks

    async def rename(self, session: str, name: str) -> SessionView:
        """Call it something else for people; the id stays. Raises 400 for a name that cannot be shown."""
        runner, shown = self._runner(session), _shown_name(name)
        with self._locks.hold(session, "set"):
            await self._registry.set_name(runner.row, shown)
        await self._tell_change(runner.row)
        return await self.get(session)

    async def set_proxy(self, session: str, proxy: str | None) -> SessionView:
        """Have it take another way to WhatsApp, from now on: one that runs gets a new process. None: the appliance's;
        empty text: no proxy at all. Raises 400 if the proxy is none, or does not get through to WhatsApp."""
        runner = self._runner(session)
        with self._locks.hold(session, "set"):
            row, wanted = runner.row, msgspec.structs.replace(runner.row.settings, proxy=proxy)
            if proxy:
                try:
                    await check_proxy(usable_proxy(self._supervisor.settings, proxy))
                except ProxyError as error:
                    raise invalid("proxy", f"{str(error)[:1].upper()}{str(error)[1:]}.", error.remedy) from error
            if wanted != row.settings:
                self._check_would_return(runner)
                await self._registry.set_settings(row, wanted)
                if runner.machine.phase is Phase.RUNNING:
                    await runner.feed(i.Restart())
                elif row.memory.state is SessionState.RECONNECTING:
                    await runner.feed(i.Nudge())  # maybe only the proxy was missing
        return await self.get(session)

    async def capture(self, session: str) -> CaptureView:
        """What is kept of its messages. Raises 404."""
        own = self._runner(session).row.settings.capture
        return CaptureView(settings=own.applied(self._supervisor.settings.capture), own=sorted(own.own()))

    async def set_capture(self, session: str, change: CaptureChange) -> CaptureView:
        """Keep something else of its messages, from the next one on. Raises 404."""
        runner = self._runner(session)
        with self._locks.hold(session, "set"):
            wanted = msgspec.structs.replace(runner.row.settings, capture=runner.row.settings.capture.then(change))
            if wanted != runner.row.settings:
                await self._registry.set_settings(runner.row, wanted)
                if runner.process is not None and runner.machine.greeted:
                    await self._supervisor.configure(runner.process)
        return await self.capture(session)

    async def command(self, session: str, body: CommandBody, timeout: float) -> Reply:
        """Raises 404, 409 without a running worker, 504 without an answer in time."""
        runner = self._runner(session)
        process = runner.process
        if process is None or runner.machine.phase is not Phase.RUNNING:
            raise conflict(f"Session {session} does not run.", f"Start it: amda session start {session}")
        try:
            return await process.command(body, timeout)
        except TimeoutError as error:
            raise timed_out(f"Session {session} did not answer within {timeout:.0f} s.", "Try again.") from error
        except LinkDownError as error:
            raise conflict(f"Session {session} is not ready: {error}.", "Try again in a moment.") from error

    async def remove(self, session: str, *, purge: bool) -> str | None:
        """Unlink the device at WhatsApp, end its worker, let the other rooms clean up, delete folder and row.

        Returns why the device could not be unlinked, or None. The media is kept unless `purge`.
        """
        runner = self._runner(session)
        with self._locks.hold(session, "remove"):
            note = await self._unlink(runner)
            process = runner.process
            await runner.feed(i.Stop())
            if process is not None and runner.machine.phase is Phase.ENDING:
                await process.settled.wait()
            for callback in self._removal_callbacks:
                await callback(session, purge)
            await self._supervisor.drop(session)
            await self._registry.delete(session)
            self._linking_shown.pop(session, None)
            folder = self._supervisor.settings.paths.sessions / session
            if folder.exists():
                await asyncio.to_thread(shutil.rmtree, folder)
        return note

    async def begin_pairing(self, session: str, attempt_id: str) -> LinkAttemptHandle:
        """Spawn a PAIR worker on the fresh store sessions/<session>/<attempt_id>. The session's operation lock is held
        until the attempt is promoted or discarded. Raises 404, 409, 503."""
        return await self._linking.begin(self._runner(session), attempt_id)

    async def show_linking(self, session: str, state: SessionState | None) -> None:
        """What the pairing room says of a session; see `interfaces.SessionControl`."""
        runner, before = self._supervisor.runners.get(session), self._linking_shown.get(session)
        if runner is None or (None if before is None else before.state) is state:
            return
        if state is None:
            del self._linking_shown[session]
        else:
            self._linking_shown[session] = Shown(state, self._wall())
        await self._tell_change(runner.row)

    # ---- helpers ----------------------------------------------------------------------------------------------------

    def _runner(self, session: str) -> SessionRunner:
        runner = self._supervisor.runners.get(session)
        if runner is None:
            raise not_found("session", session, "List them: amda session list")
        return runner

    def _check_would_return(self, runner: SessionRunner) -> None:
        """Raises 409 for a session that is online and could not log in again."""
        outdated = self._supervisor.gate.state is BreakerState.OUTDATED
        if outdated and runner.row.memory.state is SessionState.ONLINE:
            raise conflict(
                f"Session {runner.row.id} would not come back online: WhatsApp refuses new logins of this engine.",
                "First: amda upgrade, or amda engine upgrade",
            )

    async def _unlink(self, runner: SessionRunner) -> str | None:
        if not runner.row.memory.linked:
            return None
        by_hand = "remove it on the phone: WhatsApp → Linked devices"
        if runner.row.memory.state is not SessionState.ONLINE and not await self._started_to_unlink(runner):
            return f"it is not online; {by_hand}"
        if runner.process is None:
            return f"its process has ended just now; {by_hand}"
        error = await runner.process.unlink(self._supervisor.keepalive.logout_timeout_s)
        return None if error is None else f"{error}; {by_hand}"

    async def _started_to_unlink(self, runner: SessionRunner) -> bool:
        """Have a session log in for the sake of logging out, if WhatsApp would not mind; whether it is online now."""
        if runner.row.memory.state in _NOT_TO_BE_STARTED or runner.machine.refusal(self._wall()) is not None:
            return False
        await runner.feed(i.Start())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNLINK_START_S), self._changed:
                await self._changed.wait_for(lambda: runner.row.memory.state is SessionState.ONLINE)
        return runner.row.memory.state is SessionState.ONLINE

    async def _losses_today(self) -> dict[str, int]:
        midnight = datetime.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        rows = await self._database.fetch_shared(
            "SELECT session, count(*) AS losses FROM disconnections WHERE at >= ? GROUP BY session",
            (midnight.timestamp(),),
        )
        return {row["session"]: row["losses"] for row in rows}

    async def _failed_links(self, session: str | None = None) -> dict[str, FailedLink]:
        """Of each session's latest attempt to link it, if that failed: all that an untyped code leaves behind."""
        rows = await self._database.fetch_shared(
            "SELECT session, state, ended_at, reason, remedy, max(created_at) FROM pairings"
            " WHERE ?1 IS NULL OR session = ?1 GROUP BY session",
            (session,),
        )
        failed = (PairingState.EXPIRED, PairingState.REFUSED, PairingState.FAILED)
        return {
            row["session"]: FailedLink(row["ended_at"], row["reason"] or "", row["remedy"] or "")
            for row in rows
            if row["state"] in failed and row["ended_at"] is not None
        }

    def _view(
        self, row: SessionRow, losses: dict[str, int] | None = None, failed: dict[str, FailedLink] | None = None
    ) -> SessionView:
        runner, linking = self._supervisor.runners.get(row.id), self._linking_shown.get(row.id)
        return view_of(row, runner, (losses or {}).get(row.id, 0), linking, (failed or {}).get(row.id))

    async def _tell_change(self, row: SessionRow) -> None:
        async with self._changed:
            self._changed.notify_all()
        view = self._view(row)
        for callback in self._view_callbacks:
            await callback(view)


def _shown_name(name: str) -> str:
    """Raises ProblemError 400."""
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise invalid("name", "The name cannot be shown.", f"Use 1 to {NAME_MAX} printable characters.")
    return name.strip()
