"""One linking attempt, from its place in the queue to its end; the flow of a single worker, without queue or lock.

Codes live in memory only, and only as long as they can be used.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec

from appliance.config import Pairing
from appliance.interfaces import LinkAttempt
from appliance.model import PairingState, PairingView, PairMethod, mask_phone
from appliance.pairing import texts
from appliance.pairing.texts import Ending
from appliance.protocol import (
    CommandBody,
    Event,
    PairByCode,
    PairByQr,
    Paired,
    PairFailed,
    PairShown,
    Signal,
    SignalKind,
)

_REFUSED_LOGIN: Final = frozenset(
    {SignalKind.LOGGED_OUT, SignalKind.TEMPORARY_BAN, SignalKind.CONNECT_FAILURE, SignalKind.CLIENT_OUTDATED}
)
"""Answers to the first login that end it; a lost connection is none of them: the engine dials again."""
_EVENT_AFTER_REPLY_S: Final = 2.0
"""The two are written to the same socket, one after the other."""


class AttemptFailedError(Exception):
    """The attempt is over without success; `ending` says why."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class Times(msgspec.Struct, kw_only=True):
    """When each step was reached; None: not yet."""

    created_at: float
    started_at: float | None = None
    shown_at: float | None = None
    accepted_at: float | None = None
    ended_at: float | None = None


class Attempt:
    """What is known of one attempt. `changed` is called after every step, so that it can be recorded and told."""

    def __init__(
        self,
        attempt_id: str,
        session: str,
        method: PairMethod,
        phone: str | None,
        *,
        relink: bool,
        changed: Callable[[Attempt], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = attempt_id
        self.session = session
        self.method = method
        self.phone = phone
        self.relink = relink
        self.state = PairingState.QUEUED
        self.ending: Ending | None = None
        self.times = Times(created_at=clock())
        self.updated_at = self.times.created_at
        self._shown: PairShown | None = None
        self._clock = clock
        self._changed = changed
        self._step = asyncio.Condition()

    async def link(self, worker: LinkAttempt, settings: Pairing, accept: Callable[[Paired], Awaitable[None]]) -> None:
        """Lead the worker to its first login. Returns when the store may be promoted.

        `accept` is asked when the phone has accepted, and may raise. Raises `AttemptFailedError`.
        """
        self.times.started_at = self._clock()
        await self.move(PairingState.STARTING)
        try:
            async with asyncio.timeout(settings.job_limit_s):
                events = worker.events()
                if error := await self._ask(worker, settings.code_wait_s):
                    raise AttemptFailedError(await self._explain(events, error))
                await accept(await self._until_paired(events, settings.code_wait_s))
                await self._until_online(events, settings.confirm_wait_s)
        except TimeoutError:
            raise AttemptFailedError(self._silence() if self.times.shown_at else texts.TOO_LONG) from None

    async def move(self, state: PairingState, ending: Ending | None = None) -> None:
        """Go to the next state. A final state is never left again."""
        if self.state.final:
            return
        self.state, self.ending = state, ending
        self.updated_at = self._clock()
        if state.final:
            self.times.ended_at = self.updated_at
            self._shown = None
        await self._changed(self)
        async with self._step:
            self._step.notify_all()

    async def wait_change(self, since: float, timeout_s: float) -> None:
        """Until something is newer than `since` (an `updated_at`), or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._step:
                await self._step.wait_for(lambda: self.updated_at > since)

    def view(self) -> PairingView:
        """As the API shows it; a code that is dead by now is not in it."""
        shown = self._shown if self._shown is not None and self._shown.expires_at > self._clock() else None
        return PairingView(
            id=self.id,
            session=self.session,
            method=self.method,
            state=self.state,
            created_at=self.times.created_at,
            updated_at=self.updated_at,
            phone=None if self.phone is None else mask_phone(self.phone),
            code=shown.value if shown and shown.method is PairMethod.CODE else None,
            qr=shown.value if shown and shown.method is PairMethod.QR else None,
            expires_at=shown.expires_at if shown else None,
            reason=self.ending.reason if self.ending else None,
            remedy=self.ending.remedy if self.ending else None,
        )

    async def _ask(self, worker: LinkAttempt, wait_s: float) -> str | None:
        body: CommandBody = PairByQr() if self.phone is None else PairByCode(phone=self.phone.lstrip("+"))
        return (await worker.command(body, wait_s)).error

    async def _explain(self, events: AsyncIterator[Event], error: str) -> Ending:
        """The worker's event says more than its reply; it is on its way when the reply has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVENT_AFTER_REPLY_S):
                async for event in events:
                    if isinstance(event.body, PairFailed):
                        return self._ending(event.body)
        return self._ending(PairFailed(reason=error))

    def _ending(self, failed: PairFailed) -> Ending:
        return texts.ending_of(failed, shown=self.times.shown_at is not None, by_qr=self.method is PairMethod.QR)

    async def _until_paired(self, events: AsyncIterator[Event], first_wait_s: float) -> Paired:
        while True:
            try:
                async with asyncio.timeout(None if self.times.shown_at else first_wait_s):
                    event = await anext(events)
            except TimeoutError:
                raise AttemptFailedError(texts.NO_CODE) from None
            except StopAsyncIteration:
                raise AttemptFailedError(texts.WORKER_ENDED) from None
            match event.body:
                case PairShown() as shown:
                    self._shown = shown
                    self.times.shown_at = self.times.shown_at or self._clock()
                    await self.move(PairingState.WAITING)
                case Paired() as paired:
                    self._shown = None
                    self.times.accepted_at = self._clock()
                    await self.move(PairingState.CONFIRMING)
                    return paired
                case PairFailed() as failed:
                    raise AttemptFailedError(self._ending(failed))

    async def _until_online(self, events: AsyncIterator[Event], wait_s: float) -> None:
        """The phone has accepted: the credentials are good, and the session keeps them even if the first login takes
        longer than we wait. Only a refusal by WhatsApp ends the attempt."""
        try:
            async with asyncio.timeout(wait_s):
                async for event in events:
                    if isinstance(event.body, Signal):
                        if event.body.kind is SignalKind.CONNECTED:
                            return
                        if event.body.kind in _REFUSED_LOGIN:
                            raise AttemptFailedError(texts.NOT_CONFIRMED)
        except TimeoutError:
            return

    def _silence(self) -> Ending:
        return texts.QR_SILENCE if self.method is PairMethod.QR else texts.SILENCE
