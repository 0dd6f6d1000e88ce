"""The attempts that this daemon knows of, and what Redis and the record say of them, brought together.

A daemon that dies leaves jobs in Redis and open rows in the record; a Redis that dies may forget its last second. Here
the two are made to agree again, so that nothing stays stuck and nobody is told wrong.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from appliance.events import EventBus
from appliance.model import PairingState, PairingView, SessionState, mask_phone
from appliance.pairing import texts
from appliance.pairing.attempt import Attempt
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import REDIS_ERRORS, explain
from appliance.pairing.redis_queue import Job, PairingQueue, Queued, Verdict
from appliance.pairing.texts import Ending

_LEFTOVERS: Final = 1000
"""Jobs whose end Redis has not heard yet; beyond, they end there by their locks."""

_log = structlog.get_logger(__name__)


class Board:
    """Every attempt of this daemon that has no end yet."""

    def __init__(
        self,
        queue: PairingQueue,
        record: PairingRecord,
        bus: EventBus,
        clock: Callable[[], float] = time.time,
        *,
        show: Callable[[str, SessionState | None], Awaitable[None]],
    ) -> None:
        """`show`: tells the sessions' room that a session is queued, being linked, or neither any more."""
        self.attempts: dict[str, Attempt] = {}
        self._queue = queue
        self._record = record
        self._bus = bus
        self._clock = clock
        self._show = show
        self._unheard: dict[str, tuple[int | None, Verdict, bool]] = {}

    def attempt(self, attempt_id: str) -> Attempt | None:
        return self.attempts.get(attempt_id)

    def of_session(self, session: str) -> Attempt | None:
        """The attempt that this daemon leads or keeps in line for a session."""
        return next((found for found in self.attempts.values() if found.session == session), None)

    def waiting(self) -> list[Attempt]:
        """Those in line, first come first."""
        found = [one for one in self.attempts.values() if one.hold is None and one.seq is not None]
        return sorted(found, key=lambda one: one.seq or 0)

    def add(self, attempt: Attempt) -> None:
        self.attempts[attempt.id] = attempt

    def from_job(self, job: Job) -> Attempt:
        """An attempt that Redis knows and we do not: another daemon, or the one before us, has let it in."""
        attempt = Attempt(
            job.id,
            job.session,
            job.method,
            job.phone,
            relink=job.relink,
            changed=self.changed,
            clock=self._clock,
            created_at=job.created_at,
        )
        attempt.seq = job.seq
        self.attempts[job.id] = attempt
        return attempt

    async def changed(self, attempt: Attempt) -> None:
        """Record a step and tell of it."""
        await self._record.save(attempt)
        phone = None if attempt.phone is None else mask_phone(attempt.phone)
        _log.info("pairing", session=attempt.session, state=attempt.state, phone=phone)
        await self._bus.publish("pairing.state", attempt.session, id=attempt.id, state=attempt.state)
        await self._show(attempt.session, _shown_as(attempt.state))

    async def end(self, attempt: Attempt, ending: Ending | None) -> None:
        """Give an attempt its end (None: linked) in Redis, in the record and here."""
        job = None if attempt.hold is None else attempt.hold.job
        await self.finish(attempt.id, None if job is None else job.fence, verdict_of(attempt, ending))
        try:
            await attempt.move(PairingState.LINKED if ending is None else ending.state, ending)
        finally:  # what cannot be recorded has ended all the same; the next start closes its row
            self.attempts.pop(attempt.id, None)

    async def finish(self, job_id: str, fence: int | None, verdict: Verdict, *, force: bool = False) -> None:
        """End a job in Redis; as soon as Redis is back, if it is away."""
        try:
            await self._queue.finish(job_id, fence, verdict, force=force)
        except REDIS_ERRORS as error:
            _log.warning("the end of an attempt waits for Redis", reason=explain(error))
            if len(self._unheard) < _LEFTOVERS:
                self._unheard[job_id] = (fence, verdict, force)

    async def end_orphan(self, attempt_id: str, ending: Ending) -> None:
        """Tell the end of an attempt that nobody leads any more: linked, if its daemon had just got so far."""
        found = None if await self._record.promoted(attempt_id) else ending
        if await self._record.end(attempt_id, found, self._clock()):
            view = await self._record.get(attempt_id)
            state = PairingState.LINKED if found is None else found.state
            _log.warning("a linking attempt was left by its daemon", id=attempt_id, state=state)
            await self._bus.publish("pairing.state", None if view is None else view.session, id=attempt_id, state=state)

    # ---- agreement --------------------------------------------------------------------------------------------------

    async def recover(self) -> list[PairingView]:
        """At the start: those in line go on, those under way at a daemon before us are returned, to be dealt with.

        Raises `REDIS_ERRORS`; then nothing has changed.
        """
        waiting, _ = await self._queue.of_node()
        for job_id in waiting:
            job = await self._queue.get(job_id)
            if job is not None and job_id not in self.attempts:
                attempt = self.from_job(job)
                await self._record.save(attempt)
                await self._show(attempt.session, _shown_as(attempt.state))
        left = []
        for view in await self._record.open_attempts():
            job = await self._queue.get(view.id)
            if view.id not in self.attempts and (job is None or job.node == self._queue.node):
                left.append(view)
        return left

    async def drop_unrecorded(self) -> None:
        """Jobs that hold a slot of this node and are nobody's: their daemon and their record are gone."""
        _, busy = await self._queue.of_node()
        for job_id in busy:
            if job_id not in self.attempts:
                await self._queue.finish(job_id, None, Verdict.FREE, force=True)

    async def tell_ends(self) -> None:
        """Ends that Redis has not heard, because it was away. Raises `REDIS_ERRORS`."""
        for job_id, (fence, verdict, force) in list(self._unheard.items()):
            await self._queue.finish(job_id, fence, verdict, force=force)
            self._unheard.pop(job_id, None)

    async def agree(self) -> None:
        """Now and then, while Redis answers: jobs whose holders have died, and places that it has forgotten. Raises
        `REDIS_ERRORS`."""
        for job_id in await self._queue.sweep():
            if job_id not in self.attempts:
                await self.end_orphan(job_id, texts.HOLDER_DIED)
        if waiting := self.waiting():
            known = {job_id for ids in await self._queue.of_node() for job_id in ids}
            for attempt in waiting:
                if attempt.id not in known and attempt.hold is None:
                    await self._restore(attempt)

    async def _restore(self, attempt: Attempt) -> None:
        """Redis has forgotten a job that waits: its old place again, unless another one has begun meanwhile."""
        job = await self._queue.get(attempt.id)
        if job is not None and job.owner:
            self.attempts.pop(attempt.id, None)  # another daemon of this node has taken it
            await self._show(attempt.session, None)
            return
        place = await self._queue.enqueue(
            attempt.id,
            attempt.session,
            attempt.method,
            attempt.asked_phone,
            relink=attempt.relink,
            created_at=attempt.times.created_at,
            restore=attempt.seq,
        )
        if not isinstance(place, Queued):
            await self.end(attempt, texts.CROWDED_OUT)


def _shown_as(state: PairingState) -> SessionState | None:
    """What a session is that has an attempt in this state."""
    if state.final:
        return None
    return SessionState.QUEUED if state is PairingState.QUEUED else SessionState.PAIRING


def verdict_of(attempt: Attempt, ending: Ending | None) -> Verdict:
    """What this end means for the next request."""
    if ending is None:
        return Verdict.LINKED
    if ending.cool:
        return Verdict.COOL
    return Verdict.KEEP if ending.counts and attempt.times.shown_at is not None else Verdict.FREE
