"""Linking a session: a store of its own for each attempt, one row that makes it the session's, and what becomes of the
store before it.

Nothing is moved under an open database: the row changes, the folders stay where they are.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Final

import structlog

from appliance.interfaces import PromotionGuard
from appliance.model import SESSION_ID_PATTERN
from appliance.model_backup import RestoreSession
from appliance.problems import conflict, invalid, unavailable
from appliance.protocol import WorkerMode
from appliance.sessions import leftovers
from appliance.sessions.link_attempt import LinkAttemptHandle
from appliance.sessions.locks import OperationLocks
from appliance.sessions.process import WorkerProcess
from appliance.sessions.registry import Registry, SessionRow
from appliance.sessions.runner import SessionRunner, SpawnError
from appliance.sessions.spec import delete_store, make_store
from appliance.sessions.supervisor import Supervisor

SPOOL: Final = "spool"
"""Folder of a store in which captured media waits; a store is not deleted while something lies there."""

DEVICE_STORE: Final = "device.db"
"""The engine's file in a store: without it there is no login."""

DrainCallback = Callable[[str], Awaitable[None]]

_log = structlog.get_logger(__name__)


class Linking:
    """Begins attempts and carries out their ends."""

    def __init__(self, supervisor: Supervisor, registry: Registry, locks: OperationLocks) -> None:
        self.drain_callbacks: list[DrainCallback] = []
        self._supervisor = supervisor
        self._registry = registry
        self._locks = locks
        self._jobs: set[asyncio.Task[None]] = set()
        supervisor.on_stray_ended = self._stray_ended

    async def close(self) -> None:
        """Give up what is under way; the next daemon cleans up."""
        for task in self._jobs:
            task.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs)

    async def begin(self, runner: SessionRunner, attempt_id: str) -> LinkAttemptHandle:
        """See `service.SessionService.begin_pairing`."""
        row = runner.row
        if not SESSION_ID_PATTERN.fullmatch(attempt_id):
            raise invalid("attempt", f"{attempt_id[:40]!r} cannot name a folder.")
        self._locks.acquire(row.id, "pair")
        attempt: LinkAttemptHandle | None = None
        try:
            self._check_hold(row)
            settings = self._supervisor.settings
            store = await asyncio.to_thread(make_store, settings, row.id, attempt_id)
            attempt = LinkAttemptHandle(
                session=row.id,
                store=store,
                keepalive=settings.keepalive,
                promoted=self._promoted,
                discarded=self._discarded,
            )
            process = await self._supervisor.spawn(row, store, row.generation + 1, WorkerMode.PAIR, attempt)
        except BaseException as error:
            if attempt is None:
                self._locks.release(row.id)
            else:
                await self._discarded(attempt)
            if isinstance(error, SpawnError):
                raise unavailable(f"Linking cannot begin: {error}.", "Look at: amda status") from error
            raise
        attempt.process = process
        process.start()
        return attempt

    async def _promoted(self, attempt: LinkAttemptHandle, guard: PromotionGuard | None) -> None:
        runner, process, paired = self._supervisor.runners[attempt.session], attempt.process, attempt.paired
        if process is None or paired is None:
            raise conflict("This attempt was not accepted by a phone.", "Link again.")
        row, old_store, old = runner.row, runner.row.store, runner.process
        await self._registry.promote(
            row, attempt.store, phone=_phone_of(paired.jid), jid=paired.jid, lid=paired.lid, guard=guard
        )
        try:
            await runner.take_over(process, attempt.engine_state, attempt.connected_at)
            if attempt.dead:  # accepted by the phone, so the credentials are good: a new process logs in with them
                await runner.exited(process, attempt.exit)
            else:
                await attempt.tell_generation(row.generation)
        finally:
            self._locks.release(attempt.session)
        if old_store is not None:
            self._job(self._retire(row.id, old_store, old))

    def restored_store(self, row: SessionRow, name: str) -> Path:
        """A store that came out of a backup and lies in the session's folder. Raises 400 if there is none."""
        store = self._supervisor.settings.paths.sessions / row.id / name
        if store.is_symlink() or store == row.store or not (store / DEVICE_STORE).is_file():
            raise invalid("store", f"There is no restored store {name}.", "Use: amda backup restore --session ID")
        return store

    async def restore(self, runner: SessionRunner, store: Path, order: RestoreSession) -> None:
        """Make that store the session's; its process has ended."""
        row, old_store = runner.row, runner.row.store
        await self._registry.mark_seen(row.id, store.name, order.seen)
        await self._registry.promote(row, store, phone=order.phone, jid=order.jid, lid=order.lid, guard=None)
        row.memory.linked = True
        if old_store is not None:
            self._job(self._delete_store(row.id, old_store))

    async def _discarded(self, attempt: LinkAttemptHandle) -> None:
        try:
            await attempt.end()
            await self._delete_store(attempt.session, attempt.store)
        finally:
            self._locks.release(attempt.session)

    async def _retire(self, session: str, store: Path, process: WorkerProcess | None) -> None:
        """The former login of a session that was linked anew: unlink it, end its worker, take what it had captured."""
        keepalive = self._supervisor.keepalive
        if process is not None and not process.gone.is_set():
            if error := await process.unlink(keepalive.logout_timeout_s):
                _log.info("a former link could not be removed at WhatsApp", session=session, error=error)
            await process.end(keepalive, gently=True, dump=False)
        await self._delete_store(session, store)

    async def _delete_store(self, session: str, store: Path) -> None:
        for callback in self.drain_callbacks:
            await callback(session)
        if _has_media(store):
            _log.warning("a former store still holds media and is kept", session=session, store=store.name)
            return
        await asyncio.to_thread(delete_store, store)
        await self._registry.forget_store(session, store.name)

    def clean_folder(self, row: SessionRow) -> None:
        """Stores that a daemon before us could not delete any more."""
        folder = self._supervisor.settings.paths.sessions / row.id
        if not folder.is_dir() or not self._supervisor.ready.is_set():
            return
        for store in sorted(folder.iterdir()):
            if store.is_dir() and store != row.store and not self._supervisor.uses(store):
                self._job(self._delete_store(row.id, store))

    def clean_strangers(self) -> None:
        """Folders of sessions that a daemon before us removed, and could not delete any more."""
        if self._supervisor.ready.is_set():
            self._job(self._clean_strangers())

    async def _clean_strangers(self) -> None:
        async def drain(session: str) -> None:
            for callback in self.drain_callbacks:
                await callback(session)

        sessions, runners = self._supervisor.settings.paths.sessions, self._supervisor.runners
        await leftovers.clean(sessions, lambda session: session in runners, drain, self._locks)

    async def _stray_ended(self, session: str, store: Path) -> None:
        runner = self._supervisor.runners.get(session)
        if runner is None or runner.row.store != store:
            await self._delete_store(session, store)

    def _check_hold(self, row: SessionRow) -> None:
        until = row.memory.not_before
        now = self._supervisor.clock.wall()
        if until is not None and now < until:
            left = datetime.timedelta(seconds=round(until - now))
            raise conflict(
                f"WhatsApp refuses the account of session {row.id}; linking is held back for {left}.",
                "Open WhatsApp on the phone: it says why, and whether an appeal is possible.",
            )

    def _job(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


def _has_media(store: Path) -> bool:
    spool = store / SPOOL
    return spool.is_dir() and any(path.suffix == ".json" for path in spool.iterdir())


def _phone_of(jid: str) -> str | None:
    """The phone number in a JID like 221771234512:7@s.whatsapp.net."""
    digits = jid.partition("@")[0].partition(":")[0]
    return f"+{digits}" if digits.isdigit() else None
