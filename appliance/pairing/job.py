"""One job from its slot to its end: lock, fence, as many tries as make sense, and what becomes of the stores."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from typing import Final

import structlog

from appliance.config import Pairing
from appliance.interfaces import SessionControl
from appliance.model import PairingState
from appliance.pairing import texts
from appliance.pairing.attempt import Attempt
from appliance.pairing.dialogue import LOGIN_WAIT_S, AttemptFailedError, Dialogue
from appliance.pairing.fences import Fences, OvertakenError
from appliance.pairing.hold import CancelledElsewhereError, Hold, LockLostError
from appliance.pairing.record import PairingRecord
from appliance.pairing.texts import Ending
from appliance.problems import ProblemError
from appliance.protocol import Paired, PairShown

CODE_LIFE_S: Final = 160.0
"""A code dies when its connection's six references are used up: 60 s and five times 20 s."""
BACKOFF_BASE_S: Final = 1.0
BACKOFF_CAP_S: Final = 8.0
"""Between two tries before a code was shown: the user is watching, and three tries are all there are."""
CLEAN_UP_S: Final = 20.0
"""The end itself: an accepted device is unlinked (10 s at most), its worker ended (8 s), its store removed."""
_CLEAN_UP_SHARE: Final = 0.2
"""At most this part of an attempt's time is kept free for it, however short that is set."""
_MIN_TRY_SHARE: Final = 0.4
"""A further try begins only while this part of the attempt's time is left, however short that is set."""

_log = structlog.get_logger(__name__)


class Linker:
    """Carries jobs out; `settings.heavy` bounds how many of them log in for the first time at once."""

    def __init__(
        self,
        sessions: SessionControl,
        record: PairingRecord,
        fences: Fences,
        settings: Pairing,
    ) -> None:
        self._sessions = sessions
        self._record = record
        self._fences = fences
        self._settings = settings
        self._heavy = asyncio.Semaphore(settings.heavy)
        self.letting_go = False
        """The daemon ends: workers and stores are left as a crash would leave them, for the next daemon to find."""

    def apply_settings(self, settings: Pairing) -> None:
        """From the next step of each job on. Those that hold a place of the heavy ones, or wait for it, keep it."""
        if settings.heavy != self._settings.heavy:
            self._heavy = asyncio.Semaphore(settings.heavy)
        self._settings = settings

    async def run(self, attempt: Attempt, hold: Hold) -> Ending | None:
        """Work under the lock; None: linked. Never raises for what the attempt itself came to. A cancellation ends the
        work first, and what that came to decides."""
        keeper = asyncio.create_task(hold.keep())
        work = asyncio.create_task(self._work(attempt, hold))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([keeper, work], return_when=asyncio.FIRST_COMPLETED)
        keeper.cancel()
        work.cancel()
        await finish(_settled(keeper, work))
        if not work.cancelled():
            return _ending_by(work.exception(), attempt.session)
        return texts.CANCELLED if keeper.cancelled() else _ending_by(keeper.exception(), attempt.session)

    async def _work(self, attempt: Attempt, hold: Hold) -> None:
        limit_s = self._settings.job_limit_s
        deadline = asyncio.get_running_loop().time() + limit_s - min(CLEAN_UP_S, _CLEAN_UP_SHARE * limit_s)
        await self._fences.enter(attempt.session, attempt.phones, hold.job.fence)
        await attempt.start(hold)
        while True:
            try:
                await self._try(attempt, hold, deadline)
            except AttemptFailedError as error:
                if not self._worth_another(attempt, error.ending, deadline):
                    raise
                _log.info("trying again", session=attempt.session, after=error.ending.reason, tries=attempt.tries)
            else:
                return
            await asyncio.sleep(_backoff(attempt.tries))
            attempt.tries += 1
            await attempt.move(PairingState.STARTING)

    def _worth_another(self, attempt: Attempt, ending: Ending, deadline: float) -> bool:
        """Only before a code was shown, and only if the next one could live its whole life."""
        settings = self._settings
        needed = min(CODE_LIFE_S + settings.confirm_wait_s, _MIN_TRY_SHARE * settings.job_limit_s)
        left = deadline - asyncio.get_running_loop().time()
        return ending.again and attempt.times.shown_at is None and attempt.tries < settings.tries and left > needed

    async def _try(self, attempt: Attempt, hold: Hold, deadline: float) -> None:
        """One worker on a fresh store. Whatever happens, the store is the session's or gone afterwards."""
        try:
            async with asyncio.timeout_at(deadline):
                worker = await self._sessions.begin_pairing(attempt.session, store_name(attempt))
        except TimeoutError:
            raise AttemptFailedError(texts.TOO_LONG) from None
        except ProblemError as error:
            raise AttemptFailedError(texts.of_problem(error.problem)) from error
        promoted = False
        turn = _Turn(self._heavy)
        desk = _Desk(attempt, hold, self._record, self._fences, turn)
        try:
            await Dialogue(attempt, worker, desk, self._settings, deadline=deadline).run()
            guard = self._fences.guard(attempt.session, attempt.phones, hold.job.fence)
            await finish(worker.promote(guard))
            promoted = True
        finally:
            turn.end()
            if not promoted and not self.letting_go:
                await finish(worker.discard())


class _Turn:
    """A place among those that log in for the first time; given back once, also if it was never taken."""

    def __init__(self, heavy: asyncio.Semaphore) -> None:
        self._heavy = heavy
        self._taken = False

    async def take(self) -> None:
        """Wait for it as long as the accepted device does; then it logs in without."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOGIN_WAIT_S):
                await self._heavy.acquire()
                self._taken = True

    def end(self) -> None:
        if self._taken:
            self._taken = False
            self._heavy.release()


class _Desk:
    """Implements `dialogue.Desk` for one worker."""

    def __init__(
        self,
        attempt: Attempt,
        hold: Hold,
        record: PairingRecord,
        fences: Fences,
        turn: _Turn,
    ) -> None:
        self._attempt = attempt
        self._hold = hold
        self._record = record
        self._fences = fences
        self._turn = turn

    async def show(self, shown: PairShown) -> None:
        await self._hold.show(shown.value, shown.expires_at)

    async def accept(self, paired: Paired) -> None:
        """By QR the number is known only now, and by code it may be written in another way: it must not belong to
        another session, linked or being linked."""
        attempt = self._attempt
        await self._hold.hide()
        attempt.phone = "+" + paired.jid.partition("@")[0].partition(":")[0]
        taken = await self._record.session_of_number(attempt.phone, attempt.session) is not None
        if taken or not await self._hold.add_phone(attempt.phone):
            raise AttemptFailedError(texts.ALREADY_LINKED)
        await self._fences.enter(attempt.session, attempt.phones, self._hold.job.fence)
        await self._turn.take()


def store_name(attempt: Attempt) -> str:
    """Folder of the store of the attempt's present try."""
    return attempt.id if attempt.tries == 1 else f"{attempt.id}-{attempt.tries}"


def _backoff(tries: int) -> float:
    """Full jitter, so that sixty that failed together do not come back together."""
    return random.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** (tries - 1)))  # noqa: S311 - jitter


def _ending_by(error: BaseException | None, session: str) -> Ending | None:
    match error:
        case None:
            return None
        case AttemptFailedError():
            return error.ending
        case LockLostError():
            return texts.lock_lost(str(error))
        case CancelledElsewhereError():
            return texts.CANCELLED
        case OvertakenError():
            return texts.CROWDED_OUT
        case ProblemError():
            return texts.of_problem(error.problem)
        case _:
            _log.error("pairing broke", session=session, exc_info=error)
            return texts.INTERNAL


async def _settled(*tasks: asyncio.Task[None]) -> None:
    await asyncio.wait(tasks)


async def finish(step: Awaitable[None]) -> None:
    """Do a step that must not be left half done: a cancellation that comes meanwhile comes too late."""
    task = asyncio.ensure_future(step)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
