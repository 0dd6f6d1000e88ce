"""The conversation with one worker that links: ask for a code, hand it over, wait for the phone, see the first login.

One worker, one store, one code (or one row of QR codes); whether it is worth asking again is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final, Protocol

from appliance.config import Pairing
from appliance.interfaces import LinkAttempt
from appliance.model import PairMethod
from appliance.pairing import texts
from appliance.pairing.attempt import Attempt
from appliance.pairing.texts import Ending
from appliance.problems import ProblemError
from appliance.protocol import (
    CommandBody,
    Event,
    LogIn,
    PairByCode,
    PairByQr,
    Paired,
    PairFailed,
    PairShown,
    Signal,
    SignalKind,
)

LOGIN_WAIT_S: Final = 15.0
"""How long an accepted device waits for its turn to log in: sixteen that are accepted together, two at a time, a second
or two each. A phone that waits longer than half a minute for its new device may give it up."""
LOGIN_REPLY_S: Final = 5.0
_REFUSED_LOGIN: Final = frozenset(
    {SignalKind.LOGGED_OUT, SignalKind.TEMPORARY_BAN, SignalKind.CONNECT_FAILURE, SignalKind.CLIENT_OUTDATED}
)
"""Answers to the first login that end it; a lost connection is none of them: the engine dials again."""
_EVENT_AFTER_REPLY_S: Final = 2.0
"""The two are written to the same socket, one after the other."""
_GRACE_S: Final = 10.0
"""A code typed in its last second is accepted some seconds later; a worker also says itself when it is over."""
_EARLY_S: Final = 3.0
"""A worker that gives up so long before the end of its code has lost its connection."""
_CONFIRM_SHARE: Final = 0.2
"""At most this part of an attempt's time is kept free for the first login."""


class AttemptFailedError(Exception):
    """The attempt is over without success; `ending` says why."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class Desk(Protocol):
    """What the conversation needs of those who know the other attempts. Each may raise AttemptFailedError or
    LockLostError."""

    async def show(self, shown: PairShown) -> None:
        """Count the code and make it visible."""

    async def accept(self, paired: Paired) -> None:
        """The phone accepted: check the account, and wait for the turn to log in."""


class Dialogue:
    """`deadline`: when the attempt's time is over, by the event loop's clock."""

    def __init__(
        self, attempt: Attempt, worker: LinkAttempt, desk: Desk, settings: Pairing, *, deadline: float
    ) -> None:
        self._attempt = attempt
        self._worker = worker
        self._desk = desk
        self._settings = settings
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._events: AsyncIterator[Event] = worker.events()
        self._dies_at = 0.0
        """When the code that is shown dies, by the attempt's clock."""

    async def run(self) -> None:
        """Lead the worker to its first login. Returns when the store may be promoted. Raises AttemptFailedError."""
        try:
            async with asyncio.timeout_at(self._deadline):
                if error := await self._ask():
                    raise AttemptFailedError(await self._explain(error))
                await self._desk.accept(await self._until_paired())
                with contextlib.suppress(ProblemError):  # it goes by itself soon; if it died, its events end
                    await self._worker.command(LogIn(), LOGIN_REPLY_S)
                await self._until_online()
        except TimeoutError:
            if self._attempt.times.accepted_at is None:
                ending = self._silence() if self._attempt.times.shown_at else texts.TOO_LONG
                raise AttemptFailedError(ending) from None
            if self._attempt.relink:
                raise AttemptFailedError(texts.STAYS_WITH_OLD) from None
        except ProblemError as error:
            raise AttemptFailedError(texts.of_problem(error.problem)) from error

    async def _ask(self) -> str | None:
        phone = self._attempt.asked_phone
        wait_s = LOGIN_WAIT_S
        body: CommandBody = (
            PairByQr(login_wait_s=wait_s) if phone is None else PairByCode(phone=phone.lstrip("+"), login_wait_s=wait_s)
        )
        return (await self._worker.command(body, self._settings.code_wait_s)).error

    async def _explain(self, error: str) -> Ending:
        """The worker's event says more than its reply; it is on its way when the reply has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVENT_AFTER_REPLY_S):
                async for event in self._events:
                    if isinstance(event.body, PairFailed):
                        return self._ending(event.body)
        return self._ending(PairFailed(reason=error))

    async def _until_paired(self) -> Paired:
        while True:
            try:
                async with asyncio.timeout_at(self._patience()):
                    event = await anext(self._events)
            except TimeoutError:
                raise AttemptFailedError(self._silence() if self._dies_at else texts.NO_CODE) from None
            except StopAsyncIteration:
                raise AttemptFailedError(texts.WORKER_ENDED) from None
            match event.body:
                case PairShown() as shown:
                    await self._show(shown)
                case Paired() as paired:
                    await self._attempt.accept()
                    return paired
                case PairFailed() as failed:
                    raise AttemptFailedError(self._ending(failed))

    def _patience(self) -> float:
        """Until when to wait for the next event, by the loop's clock."""
        left = self._dies_at - self._attempt.now() + _GRACE_S if self._dies_at else self._settings.code_wait_s
        return min(self._deadline, self._loop.time() + left)

    async def _show(self, shown: PairShown) -> None:
        """Never with more time than the attempt has left: whoever types in the last second must still be let in."""
        self._dies_at = shown.expires_at
        kept_free = min(self._settings.confirm_wait_s, self._settings.job_limit_s * _CONFIRM_SHARE)
        latest = self._attempt.now() + self._deadline - self._loop.time() - kept_free
        if shown.expires_at > latest:
            shown = PairShown(method=shown.method, value=shown.value, expires_at=latest)
        await self._desk.show(shown)
        await self._attempt.show(shown)

    async def _until_online(self) -> None:
        """The phone has accepted: the credentials are good, and the session keeps them even if the first login takes
        longer than we wait, or needs a new process. Only a refusal by WhatsApp ends the attempt; and where a former
        login would be given up for it, nothing less than success will do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.confirm_wait_s):
                async for event in self._events:
                    if isinstance(event.body, Signal):
                        if event.body.kind is SignalKind.CONNECTED:
                            return
                        if event.body.kind in _REFUSED_LOGIN:
                            raise AttemptFailedError(texts.NOT_CONFIRMED)
        if self._attempt.relink:
            raise AttemptFailedError(texts.STAYS_WITH_OLD)

    def _ending(self, failed: PairFailed) -> Ending:
        return texts.ending_of(
            failed,
            shown=self._attempt.times.shown_at is not None,
            by_qr=self._attempt.method is PairMethod.QR,
            early=self._attempt.now() < self._dies_at - _EARLY_S,
        )

    def _silence(self) -> Ending:
        return texts.silence(by_qr=self._attempt.method is PairMethod.QR)
