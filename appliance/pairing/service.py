"""Linking sessions to WhatsApp accounts: who may, when, and what became of it.

A few attempts work at a time (slots), the others wait in the order in which they came. Each holds a lock in Redis on
its session and its number from the request to the end, so that two attempts for the same user never exist.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from appliance.config import Pairing
from appliance.events import EventBus
from appliance.interfaces import SessionControl
from appliance.model import PairingState, PairingView, PairMethod, SessionState, SessionView, mask_phone
from appliance.pairing import texts
from appliance.pairing.attempt import Attempt, AttemptFailedError
from appliance.pairing.lock import LockLostError, PairingLock
from appliance.pairing.phone import parse_phone
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import REDIS_ERRORS, RedisClient, explain
from appliance.problems import ProblemError, conflict, invalid, not_found, unavailable
from appliance.protocol import Paired

_RETRY_AFTER_S: Final = 30.0
"""When to ask again while Redis is away: its restart takes a second or two, an operator some more."""
_UNLINKED: Final = frozenset({SessionState.NEW, SessionState.NEEDS_PAIRING})
_AFTER_FAILURE: Final = frozenset({SessionState.BANNED, SessionState.FAILED, SessionState.REPLACED})
"""Linked by their last word, but of no use: linking them again needs no special permission."""

_log = structlog.get_logger(__name__)


class PairingService:
    """`await load()` once before use, `await close()` at the end."""

    def __init__(
        self,
        sessions: SessionControl,
        record: PairingRecord,
        redis: RedisClient,
        bus: EventBus,
        settings: Pairing,
        node_id: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions = sessions
        self._record = record
        self._redis = redis
        self._bus = bus
        self._settings = settings
        self._node_id = node_id
        self._clock = clock
        self._active: dict[str, Attempt] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._queue: collections.deque[str] = collections.deque()
        self._slots = asyncio.Semaphore(settings.slots)
        self._entering = asyncio.Lock()
        self._closing = False

    async def load(self) -> None:
        """End what a dead daemon has left: the attempts are told as interrupted, their locks given back."""
        for attempt_id, session, phone in await self._record.open_attempts():
            ending = texts.INTERRUPTED
            await self._record.end(attempt_id, ending.state, ending.reason, ending.remedy, self._clock())
            await self._bus.publish("pairing.state", session, id=attempt_id, state=ending.state)
            await self._release(self._lock_for(attempt_id, session, phone))

    async def close(self) -> None:
        """Let go of what is under way, as quickly as a crash would: the next daemon's `load` tells and cleans up."""
        self._closing = True
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def request(
        self, session: str, method: PairMethod, phone: str | None = None, *, relink: bool = False
    ) -> PairingView:
        """Begin to link a session, or return the attempt that is under way for it with the code as it stands.

        Raises ProblemError: 400 bad number, 404 unknown session, 409 linked already or in use by another attempt,
        503 Redis away.
        """
        number = self._check_phone(method, phone)
        async with self._entering:
            view = await self._sessions.get(session)
            running = next((attempt for attempt in self._active.values() if attempt.session == session), None)
            if running is not None:
                return self._again(running, method, number)
            await self._refuse_linked(view, number, relink=relink)
            attempt = Attempt(
                uuid.uuid4().hex, session, method, number, relink=relink, changed=self._changed, clock=self._clock
            )
            lock = await self._take_lock(attempt)
            self._active[attempt.id] = attempt
            self._queue.append(attempt.id)
            await self._changed(attempt)
            task = asyncio.create_task(self._run(attempt, lock), name=f"pairing {session}")
            self._tasks[attempt.id] = task
            await asyncio.sleep(0)  # a task that is cancelled before its first step would never clean up
            return self._placed(attempt)

    async def get(self, attempt_id: str) -> PairingView:
        """Raises ProblemError 404."""
        if attempt := self._active.get(attempt_id):
            return self._placed(attempt)
        if view := await self._record.get(attempt_id):
            return view
        raise not_found("pairing", attempt_id, "List them: amda pairing list")

    async def wait(self, attempt_id: str, since: float, timeout_s: float) -> PairingView:
        """As `get`, as soon as something is newer than `since`, at the latest after `timeout_s`."""
        if attempt := self._active.get(attempt_id):
            await attempt.wait_change(since, timeout_s)
        return await self.get(attempt_id)

    async def recent(self, session: str | None = None, limit: int = 50) -> list[PairingView]:
        """Newest first, with the codes of those that are alive."""
        return [
            self._placed(self._active[view.id]) if view.id in self._active else view
            for view in await self._record.recent(session, limit)
        ]

    async def cancel(self, attempt_id: str) -> PairingView:
        """End an attempt; one that has ended stays as it is. Raises ProblemError 404."""
        task = self._tasks.get(attempt_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return await self.get(attempt_id)

    async def trouble(self) -> str:
        """Why no session can be linked right now; empty if it can."""
        return await self._redis.trouble()

    # ---- one attempt -----------------------------------------------------------------------------------------------

    async def _run(self, attempt: Attempt, lock: PairingLock) -> None:
        ending: texts.Ending | None = texts.CANCELLED
        try:
            ending = await self._work_under_lock(attempt, lock)
        finally:
            if not self._closing or ending is None:
                await asyncio.shield(self._end(attempt, lock, ending))

    async def _work_under_lock(self, attempt: Attempt, lock: PairingLock) -> texts.Ending | None:
        """None: linked. Whichever ends first, the work or the proof of the lock, ends the other."""
        keeper = asyncio.create_task(lock.keep())
        work = asyncio.create_task(self._in_slot(attempt, lock))
        with contextlib.suppress(asyncio.CancelledError):  # by `cancel`: what the work came to decides
            await asyncio.wait([keeper, work], return_when=asyncio.FIRST_COMPLETED)
        keeper.cancel()
        work.cancel()
        await _finish(_settled(keeper, work))
        if not work.cancelled():
            return _ending_by(work.exception(), attempt.session)
        return texts.CANCELLED if keeper.cancelled() else _ending_by(keeper.exception(), attempt.session)

    async def _in_slot(self, attempt: Attempt, lock: PairingLock) -> None:
        async with self._slots:
            self._leave_queue(attempt)
            worker = await self._sessions.begin_pairing(attempt.session, attempt.id)
            promoted = False
            try:
                await attempt.link(worker, self._settings, lambda paired: self._accept(attempt, paired, lock))
                await _finish(worker.promote())
                promoted = True
            finally:
                if not promoted and not self._closing:
                    await _finish(worker.discard())

    async def _accept(self, attempt: Attempt, paired: Paired, lock: PairingLock) -> None:
        """By QR the number is known only now: it must not belong to another session, linked or being linked."""
        attempt.phone = "+" + paired.jid.partition("@")[0].partition(":")[0]
        taken = await self._record.session_of_number(attempt.phone, attempt.session) is not None
        try:
            taken = taken or await lock.add_phone(attempt.phone) is not None
        except REDIS_ERRORS as error:
            _log.warning("number not locked", session=attempt.session, reason=explain(error))
        if taken:
            raise AttemptFailedError(texts.ALREADY_LINKED)

    async def _end(self, attempt: Attempt, lock: PairingLock, ending: texts.Ending | None) -> None:
        self._leave_queue(attempt)
        await self._release(lock)
        await attempt.move(PairingState.LINKED if ending is None else ending.state, ending)
        self._active.pop(attempt.id, None)
        self._tasks.pop(attempt.id, None)

    def _leave_queue(self, attempt: Attempt) -> None:
        if attempt.id in self._queue:
            self._queue.remove(attempt.id)

    async def _changed(self, attempt: Attempt) -> None:
        await self._record.save(attempt)
        _log.info("pairing", session=attempt.session, state=attempt.state, phone=_masked(attempt.phone))
        await self._bus.publish("pairing.state", attempt.session, id=attempt.id, state=attempt.state)

    # ---- who may ---------------------------------------------------------------------------------------------------

    def _check_phone(self, method: PairMethod, phone: str | None) -> str | None:
        if method is PairMethod.QR:
            if phone is not None:
                raise invalid("phone", "A QR code is made for no number in particular.", "Leave the number out.")
            return None
        if phone is None:
            raise invalid("phone", "A code is made for one phone number.", "Give the number, or use a QR code.")
        return parse_phone(phone, self._settings.country)

    def _again(self, running: Attempt, method: PairMethod, number: str | None) -> PairingView:
        if (running.method, running.phone) == (method, number) or (method is running.method is PairMethod.QR):
            return self._placed(running)
        raise conflict(
            f"Session {running.session} is being linked already, by {running.method} for"
            f" {_masked(running.phone) or 'no number in particular'}.",
            f"Wait for its end, or cancel it: amda pairing cancel {running.id}",
        )

    async def _refuse_linked(self, view: SessionView, number: str | None, *, relink: bool) -> None:
        linked = view.generation > 0 and view.state not in _UNLINKED | _AFTER_FAILURE
        if linked and not relink:
            raise conflict(
                f"Session {view.id} is linked already ({view.state}).",
                "Nothing to do. To link it anew all the same: amda pair ID --relink",
            )
        if number is not None and (other := await self._record.session_of_number(number, view.id)):
            raise conflict(f"This number is linked to session {other} already.", "Use or remove that session.")

    async def _take_lock(self, attempt: Attempt) -> PairingLock:
        lock = self._lock_for(attempt.id, attempt.session, attempt.phone)
        try:
            owner = await lock.acquire()
        except REDIS_ERRORS as error:
            raise unavailable(
                f"Pairing is not possible right now, because {explain(error)}.",
                "Try again in half a minute; if it stays: amda status. Sessions that are linked are not concerned.",
                _RETRY_AFTER_S,
            ) from error
        if owner is not None:
            raise conflict("This session or this number is being linked already.", "Wait for the end of that attempt.")
        return lock

    def _lock_for(self, attempt_id: str, session: str, phone: str | None) -> PairingLock:
        return PairingLock(
            self._redis.client,
            owner=f"{self._node_id}:{attempt_id}",
            session=session,
            phone=phone,
            expiry_s=self._settings.lock_s,
        )

    async def _release(self, lock: PairingLock) -> None:
        try:
            await lock.release()
        except REDIS_ERRORS as error:
            _log.warning("pairing lock expires by itself", reason=explain(error))

    def _placed(self, attempt: Attempt) -> PairingView:
        view = attempt.view()
        if attempt.id not in self._queue:
            return view
        return msgspec.structs.replace(view, position=self._queue.index(attempt.id) + 1)


def _ending_by(error: BaseException | None, session: str) -> texts.Ending | None:
    match error:
        case None:
            return None
        case AttemptFailedError():
            return error.ending
        case LockLostError():
            return texts.lock_lost(str(error))
        case ProblemError():
            return texts.Ending(state=PairingState.FAILED, reason=error.problem.detail, remedy=error.problem.remedy)
        case _:
            _log.error("pairing broke", session=session, exc_info=error)
            return texts.INTERNAL


async def _settled(*tasks: asyncio.Task[None]) -> None:
    await asyncio.wait(tasks)


async def _finish(step: Awaitable[None]) -> None:
    """Do a step that must not be left half done: a cancellation that comes meanwhile comes too late."""
    task = asyncio.ensure_future(step)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()


def _masked(phone: str | None) -> str | None:
    return None if phone is None else mask_phone(phone)
