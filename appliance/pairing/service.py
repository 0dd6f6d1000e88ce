"""Linking sessions to WhatsApp accounts: who may, when, and what became of it. What the API speaks to.

The queue, the locks and the limits are in Redis, so that they outlive this process and hold for all daemons; the record
of attempts is in the database; the work itself is the dispatcher's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from appliance.config import Pairing, Settings
from appliance.events import EventBus
from appliance.interfaces import SessionControl
from appliance.model import PairingState, PairingView, PairMethod, SessionState, SessionView, mask_phone
from appliance.model_api import PairingDay
from appliance.model_system import PartUse, RedisUse
from appliance.pairing import texts
from appliance.pairing.attempt import Attempt
from appliance.pairing.board import Board
from appliance.pairing.dispatcher import Dispatcher, Line
from appliance.pairing.fences import Fences
from appliance.pairing.job import Linker
from appliance.pairing.limits import in_words, refusal, rules_of
from appliance.pairing.phone import parse_phone
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import REDIS_ERRORS, RedisClient, explain
from appliance.pairing.redis_queue import Busy, Job, Limited, PairingQueue, Verdict
from appliance.pairing.slots import free_memory, slots_for
from appliance.problems import ProblemError, conflict, invalid, not_found, unavailable

_RETRY_AFTER_S: Final = 30.0
"""When to ask again while Redis is away: its restart takes a second or two, an operator some more."""
_USUAL_SLOT_S: Final = 40.0
"""How long an attempt holds its slot, as long as none was measured: a human types after 5 to 40 s."""
_LIFT_LOOKS_BACK_S: Final = 3 * 86_400.0
"""Numbers that a session asked codes for within this are freed with it: no limit lasts longer."""
_ID_DIGITS: Final = 24
"""96 random bits; the tries' stores carry the id and a number, and a store's name has 32 characters at most."""
_ELSEWHERE_S: Final = 1.0
"""How often an attempt that another daemon leads is looked at while somebody waits for a change."""
_CANCEL_S: Final = 15.0
"""A holder in another daemon hears of a cancellation when it next extends its lock."""
_UNLINKED: Final = frozenset({SessionState.NEW, SessionState.NEEDS_PAIRING, SessionState.QUEUED, SessionState.PAIRING})
"""The last two are shown only of sessions that have no login in use."""
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
        self._settings = settings
        self._clock = clock
        self._queue = PairingQueue(
            redis.client,
            node=node_id,
            owner=f"{node_id}:{uuid.uuid4().hex[:12]}",
            rules=rules_of(settings),
            clock=clock,
        )
        fences = Fences(record.database)
        self._board = Board(self._queue, record, bus, clock, show=sessions.show_linking)
        self._linker = Linker(sessions, record, fences, settings)
        self._dispatcher = Dispatcher(self._board, self._queue, fences, self._linker, self._slots)

    async def load(self) -> None:
        """Go on where the daemon before us was: those in line stay there, those under way are told as interrupted."""
        try:
            interrupted = await self._board.recover()
        except REDIS_ERRORS as error:
            _log.warning("linking waits for Redis", reason=explain(error))
            interrupted = await self._record.open_attempts()
        for view in interrupted:
            verdict = Verdict.LINKED if await self._record.promoted(view.id) else Verdict.FREE
            await self._board.finish(view.id, None, verdict, force=True)
            await self._board.end_orphan(view.id, texts.INTERRUPTED)
        try:
            await self._board.drop_unrecorded()
        except REDIS_ERRORS as error:
            _log.warning("linking waits for Redis", reason=explain(error))
        self._dispatcher.start()

    async def apply_settings(self, settings: Settings) -> None:
        """New settings while everything runs: they count from the next decision on, also of attempts under way."""
        if settings.pairing == self._settings:
            return
        self._settings = settings.pairing
        self._queue.rules = rules_of(settings.pairing)
        self._linker.apply_settings(settings.pairing)
        self._dispatcher.wake()

    async def close(self) -> None:
        """Let go of what is under way, as quickly as a crash would; those in line stay there."""
        await self._dispatcher.close()

    # ---- asking -----------------------------------------------------------------------------------------------------

    async def request(
        self, session: str, method: PairMethod, phone: str | None = None, *, relink: bool = False
    ) -> PairingView:
        """Begin to link a session, or return the attempt that is under way for it with the code as it stands.

        Raises ProblemError: 400 bad number, 404 unknown session, 409 linked already or in use by another attempt,
        429 a limit, 503 Redis away.
        """
        number = self._check_phone(method, phone)
        view = await self._sessions.get(session)
        if (mine := self._board.of_session(session)) is not None and mine.seq is not None:
            return await self._again(mine.asked_phone, mine.method, number, method, await self._placed(mine))
        await self._refuse_linked(view, number, relink=relink)
        attempt = Attempt(
            uuid.uuid4().hex[:_ID_DIGITS],
            session,
            method,
            number,
            relink=relink,
            changed=self._board.changed,
            clock=self._clock,
        )
        return await self._enqueue(attempt)

    async def _enqueue(self, attempt: Attempt) -> PairingView:
        self._board.add(attempt)  # before Redis knows it: the dispatcher may take it at once
        let_in = False
        try:
            answer = await self._queue.enqueue(
                attempt.id,
                attempt.session,
                attempt.method,
                attempt.asked_phone,
                relink=attempt.relink,
                created_at=attempt.times.created_at,
            )
            match answer:
                case Busy():
                    return await self._other(attempt, answer)
                case Limited():
                    raise refusal(answer, attempt.session, self._clock(), self._settings)
            attempt.seq = attempt.seq or answer.seq
            let_in = True
        except REDIS_ERRORS as error:
            raise self._away(error) from error
        finally:
            if not let_in:
                self._board.attempts.pop(attempt.id, None)
        self._dispatcher.wake()
        await self._board.changed(attempt)
        return await self._placed(attempt)

    async def _other(self, attempt: Attempt, busy: Busy) -> PairingView:
        """Somebody was first: who asks for the same gets that attempt's state, who asks for something else is told."""
        job = await self._queue.get(busy.other)
        if job is None:
            raise conflict("Another attempt for this session has ended just now.", "Ask again.")
        if job.session != attempt.session:
            mine = self._board.attempt(job.id)
            state = _state_of(job) if mine is None or mine.state.final else mine.state
            raise conflict(
                f"This number is being linked already, for session {job.session}: {texts.STEPS[state]}, begun"
                f" {in_words(self._clock() - job.created_at)} ago.",
                f"Wait for its end, or cancel it: amda pairing cancel {job.id}",
            )
        view = await self._elsewhere(job)
        return await self._again(job.phone, job.method, attempt.asked_phone, attempt.method, view)

    async def _again(
        self, had: str | None, had_method: PairMethod, phone: str | None, method: PairMethod, view: PairingView
    ) -> PairingView:
        if (had_method, had) == (method, phone):
            return view
        raise conflict(
            f"Session {view.session} is being linked already, by {had_method} for"
            f" {'no number in particular' if had is None else mask_phone(had)}.",
            f"Wait for its end, or cancel it: amda pairing cancel {view.id}",
        )

    def _check_phone(self, method: PairMethod, phone: str | None) -> str | None:
        if method is PairMethod.QR:
            if phone is not None:
                raise invalid("phone", "A QR code is made for no number in particular.", "Leave the number out.")
            return None
        if phone is None:
            raise invalid("phone", "A code is made for one phone number.", "Give the number, or use a QR code.")
        return parse_phone(phone, self._settings.country)

    async def _refuse_linked(self, view: SessionView, number: str | None, *, relink: bool) -> None:
        linked = view.generation > 0 and view.state not in _UNLINKED | _AFTER_FAILURE
        if linked and not relink:
            raise conflict(
                f"Session {view.id} is linked already ({view.state}).",
                f"Nothing to do. To link it anew all the same: amda pair {view.id} --relink …",
            )
        if number is not None and (other := await self._record.session_of_number(number, view.id)):
            raise conflict(
                f"This number is linked to session {other} already.",
                f"Use that session, or remove it first: amda session remove {other}",
            )

    # ---- following --------------------------------------------------------------------------------------------------

    async def get(self, attempt_id: str) -> PairingView:
        """Raises ProblemError 404."""
        if attempt := self._board.attempt(attempt_id):
            return await self._placed(attempt)
        view = await self._record.get(attempt_id)
        if view is None:
            raise not_found("pairing", attempt_id, "List them: amda pairing list")
        if view.state.final:
            return view
        try:
            job = await self._queue.get(attempt_id)
        except REDIS_ERRORS:
            return view
        return view if job is None else await self._elsewhere(job)

    async def wait(self, attempt_id: str, since: float, timeout_s: float) -> PairingView:
        """As `get`, as soon as something is newer than `since`, at the latest after `timeout_s`."""
        if attempt := self._board.attempt(attempt_id):
            await attempt.wait_change(since, timeout_s)
            return await self.get(attempt_id)
        ends_at = asyncio.get_running_loop().time() + timeout_s
        view = await self.get(attempt_id)
        while not view.state.final and view.updated_at <= since and asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(_ELSEWHERE_S)  # another daemon leads it, and its steps reach only the record
            view = await self.get(attempt_id)
        return view

    async def recent(self, session: str | None = None, limit: int = 50) -> list[PairingView]:
        """Newest first, with the codes of those that are alive."""
        places = await self._places()
        return [
            self._view(self._board.attempts[view.id], places) if view.id in self._board.attempts else view
            for view in await self._record.recent(session, limit)
        ]

    async def days(self, days: int) -> list[PairingDay]:
        """What became of the attempts, day by day, newest first."""
        return await self._record.by_day(days, self._clock())

    def line(self) -> Line:
        """How many wait, and for how many there is room."""
        return self._dispatcher.line()

    async def trouble(self) -> str:
        """Why no session can be linked right now; empty if it can."""
        return await self._redis.trouble()

    async def redis_use(self) -> tuple[RedisUse, PartUse]:
        """How Redis is, and what it uses."""
        return await self._redis.use()

    # ---- changing ---------------------------------------------------------------------------------------------------

    async def cancel(self, attempt_id: str) -> PairingView:
        """End an attempt; one that has ended stays as it is. Raises ProblemError 404, 503."""
        view = await self.get(attempt_id)
        if view.state.final or await self._dispatcher.cancel(attempt_id):
            return await self.get(attempt_id)
        try:
            word = await self._queue.cancel(attempt_id)
        except REDIS_ERRORS as error:
            raise self._away(error) from error
        attempt = self._board.attempt(attempt_id)
        if word == "asked":
            return await self._until_ended(view)
        if attempt is not None and attempt.hold is None:
            await self._board.end(attempt, texts.CANCELLED)
        else:
            await self._board.end_orphan(attempt_id, texts.CANCELLED)
        return await self.get(attempt_id)

    async def lift(self, session: str, phone: str | None = None) -> int:
        """Forget what counts against a session and the numbers that it asked codes for lately; how many limits there
        were. Raises ProblemError 400, 404, 503."""
        number = None if phone is None else parse_phone(phone, self._settings.country)
        await self._sessions.get(session)
        phones = set(await self._record.phones_of(session, self._clock() - _LIFT_LOOKS_BACK_S))
        try:
            lifted = await self._queue.lift(session, sorted(phones | ({number} if number else set())))
        except REDIS_ERRORS as error:
            raise self._away(error) from error
        _log.info("limits lifted by an operator", session=session, lifted=lifted)
        return lifted

    async def _until_ended(self, view: PairingView) -> PairingView:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _CANCEL_S
        while not view.state.final and loop.time() < ends_at:
            view = await self.wait(view.id, view.updated_at, ends_at - loop.time())
        return view

    # ---- views ------------------------------------------------------------------------------------------------------

    async def _placed(self, attempt: Attempt) -> PairingView:
        if attempt.hold is not None or attempt.state is not PairingState.QUEUED:
            return attempt.view()
        return self._view(attempt, await self._places())

    def _view(self, attempt: Attempt, places: _Places) -> PairingView:
        if attempt.hold is not None or attempt.id not in places.order:
            return attempt.view()
        position = places.order.index(attempt.id) + 1
        return attempt.view(position, places.wait_s(position))

    async def _places(self) -> _Places:
        """The line as Redis has it; as we know it, while Redis is away."""
        try:
            order, busy = await self._queue.of_node()
        except REDIS_ERRORS:
            order, busy = [attempt.id for attempt in self._board.waiting()], []
        times = await self._record.slot_times() if order else []
        mean_s = sum(times) / len(times) if times else _USUAL_SLOT_S
        return _Places(order=order, busy=len(busy), slots=self._slots(), mean_s=mean_s)

    async def _elsewhere(self, job: Job) -> PairingView:
        """An attempt that another daemon leads: its steps from the record, its code from Redis."""
        if mine := self._board.attempt(job.id):
            return await self._placed(mine)
        view = await self._record.get(job.id) or PairingView(
            id=job.id,
            session=job.session,
            method=job.method,
            state=_state_of(job),
            created_at=job.created_at,
            updated_at=job.created_at,
            phone=None if job.phone is None else mask_phone(job.phone),
        )
        by_qr = job.method is PairMethod.QR
        return msgspec.structs.replace(
            view,
            code=None if by_qr else job.code or None,
            qr=(job.code or None) if by_qr else None,
            expires_at=job.code_until or None,
            remaining_s=round(job.code_until - self._clock(), 1) if job.code else None,
            position=job.position,
        )

    def _slots(self) -> int:
        return self._settings.slots or slots_for(free_memory())

    def _away(self, error: Exception) -> ProblemError:
        return unavailable(
            f"Pairing is not possible right now, because {explain(error)}.",
            f"Try again in {in_words(_RETRY_AFTER_S)}; if it stays: amda status."
            " Sessions that are linked are not concerned.",
            _RETRY_AFTER_S,
        )


class _Places(msgspec.Struct, frozen=True, kw_only=True):
    """The line at one moment."""

    order: Sequence[str]
    busy: int
    slots: int
    mean_s: float

    def wait_s(self, position: int) -> float:
        """Expected wait: the slots become free one after the other, each after the time that attempts usually take."""
        ahead = position - max(0, self.slots - self.busy)
        return round(max(0, ahead) * self.mean_s / self.slots, 1)


def _state_of(job: Job) -> PairingState:
    if not job.owner:
        return PairingState.QUEUED
    return PairingState.WAITING if job.code else PairingState.STARTING
