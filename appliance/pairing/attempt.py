"""One linking attempt as people see it: its state, its times, and the code as long as it can be used.

Codes live here and in the job in Redis, nowhere else, and are in no answer once they are dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from appliance.model import PairingState, PairingView, PairMethod, mask_phone
from appliance.pairing.hold import Hold
from appliance.pairing.texts import Ending
from appliance.protocol import PairShown


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
        created_at: float | None = None,
    ) -> None:
        self.id = attempt_id
        self.session = session
        self.method = method
        self.asked_phone = phone
        """As it was asked for: what a second request is compared with."""
        self.phone = phone
        """As WhatsApp knows it, once that is known."""
        self.relink = relink
        self.state = PairingState.QUEUED
        self.ending: Ending | None = None
        self.times = Times(created_at=clock() if created_at is None else created_at)
        self.tries = 1
        self.updated_at = self.times.created_at
        self.seq: int | None = None
        """Its place in the order of arrival, once Redis knows it."""
        self.hold: Hold | None = None
        self._shown: PairShown | None = None
        self._clock = clock
        self._changed = changed
        self._step = asyncio.Condition()

    @property
    def phones(self) -> list[str]:
        """Every number that it is about: what was typed can differ from what WhatsApp calls the same line."""
        return [phone for phone in dict.fromkeys((self.asked_phone, self.phone)) if phone is not None]

    def now(self) -> float:
        """By the clock of its times."""
        return self._clock()

    async def start(self, hold: Hold) -> None:
        """It has a slot."""
        self.hold = hold
        self.times.started_at = self._clock()
        await self.move(PairingState.STARTING)

    async def show(self, shown: PairShown) -> None:
        """A code, or the next of the rolling QR codes, may be seen from now on."""
        self._shown = shown
        self.times.shown_at = self.times.shown_at or self._clock()
        await self.move(PairingState.WAITING)

    async def accept(self) -> None:
        """The phone has used the code."""
        self._shown = None
        self.times.accepted_at = self._clock()
        await self.move(PairingState.CONFIRMING)

    async def move(self, state: PairingState, ending: Ending | None = None) -> None:
        """Go to the next state. A final state is never left again."""
        if self.state.final:
            return
        self.state, self.ending = state, ending
        if state.final:
            self.times.ended_at = self._clock()
            self._shown = None
        self._touch()
        await self._changed(self)
        await self._notify()

    async def moved_up(self) -> None:
        """Its place in the queue has changed: wake those who follow it."""
        self._touch()
        await self._notify()

    async def wait_change(self, since: float, timeout_s: float) -> None:
        """Until something is newer than `since` (an `updated_at`), or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._step:
                await self._step.wait_for(lambda: self.updated_at > since)

    def view(self, position: int | None = None, wait_s: float | None = None) -> PairingView:
        """As the API shows it. A code is in it only while it lives and nobody else can have taken the attempt over."""
        now, times = self._clock(), self.times
        proved = self.hold is not None and self.hold.proved
        shown = self._shown if proved and self._shown is not None and self._shown.expires_at > now else None
        return PairingView(
            id=self.id,
            session=self.session,
            method=self.method,
            state=self.state,
            created_at=times.created_at,
            updated_at=self.updated_at,
            phone=None if self.phone is None else mask_phone(self.phone),
            code=shown.value if shown and shown.method is PairMethod.CODE else None,
            qr=shown.value if shown and shown.method is PairMethod.QR else None,
            expires_at=shown.expires_at if shown else None,
            remaining_s=round(shown.expires_at - now, 1) if shown else None,
            reason=self.ending.reason if self.ending else None,
            remedy=self.ending.remedy if self.ending else None,
            position=position,
            wait_s=wait_s,
            started_at=times.started_at,
            shown_at=times.shown_at,
            accepted_at=times.accepted_at,
            ended_at=times.ended_at,
            tries=self.tries,
        )

    def _touch(self) -> None:
        """Later than before in any case: a clock that was set back must not hide a change."""
        self.updated_at = max(self._clock(), self.updated_at + 1e-3)

    async def _notify(self) -> None:
        async with self._step:
            self._step.notify_all()
