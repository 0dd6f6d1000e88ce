"""Holding a job: its lock is extended while work goes on, and work that cannot prove its lock any more stops itself."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from appliance.pairing.redis_client import REDIS_ERRORS, explain
from appliance.pairing.redis_queue import Held, Job, PairingQueue

_EXTENSIONS_PER_EXPIRY: Final = 3
"""Two extensions may fail, by a restart of Redis for example, before the lock is lost."""
_RETRY_S: Final = 0.5
"""Redis was away a moment ago: its restart takes one or two seconds."""


class LockLostError(Exception):
    """The lock is somebody else's, or cannot be proved any more. `str()` says why."""


class CancelledElsewhereError(Exception):
    """Somebody has asked another daemon to end this job."""


class Hold:
    """What its holder has in hand: the job with its fence, and until when the lock is proved."""

    def __init__(self, queue: PairingQueue, job: Job) -> None:
        """Of a job that was taken just now."""
        self.job = job
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._proved_at = self._loop.time()

    @property
    def proved(self) -> bool:
        """Whether nobody else can have the job at this moment. By the steady clock of this process alone."""
        return self._loop.time() - self._proved_at < self._queue.lock_s

    async def keep(self) -> None:
        """Extend the lock for ever. Raises LockLostError as soon as it is not provably ours any more, and
        CancelledElsewhereError."""
        pause = self._queue.lock_s / _EXTENSIONS_PER_EXPIRY
        wait = pause
        while True:
            await asyncio.sleep(wait)
            wait = pause if await self._extend() else min(pause, _RETRY_S)

    async def show(self, code: str, until: float) -> None:
        """Make a code visible. Tries again while the lock is proved. Raises LockLostError: it must not be shown."""
        while True:
            try:
                if await self._queue.show(self.job, code, until):
                    return
                raise LockLostError("its lock expired or was taken over")
            except REDIS_ERRORS as error:
                self._check(error)
            await asyncio.sleep(_RETRY_S)

    async def hide(self) -> None:
        """The code was used. Without Redis nobody can read it there either, and its end is known."""
        with contextlib.suppress(*REDIS_ERRORS):
            await self._queue.hide(self.job)

    async def add_phone(self, phone: str) -> bool:
        """Lock a number that became known later; False: another attempt has it. Raises LockLostError."""
        while True:
            try:
                match await self._queue.add_phone(self.job, phone):
                    case Held.LOST:
                        raise LockLostError("its lock expired or was taken over")
                    case held:
                        return held is not Held.BUSY
            except REDIS_ERRORS as error:
                self._check(error)
            await asyncio.sleep(_RETRY_S)

    async def _extend(self) -> bool:
        asked_at = self._loop.time()
        try:
            async with asyncio.timeout(self._proved_at + self._queue.lock_s - asked_at):
                held = await self._queue.extend(self.job)
        except REDIS_ERRORS as error:
            self._check(error)
            return False
        if held is Held.LOST:
            raise LockLostError("its lock expired or was taken over")
        self._proved_at = asked_at
        if held is Held.CANCELLED:
            raise CancelledElsewhereError
        return True

    def _check(self, error: Exception) -> None:
        if not self.proved:
            raise LockLostError(explain(error)) from error
