"""Work that is kept in the database until it is done or given up: what is due is tried, what fails is due again later.

Alerts to people and webhooks both go this way; what they deliver, and what becomes of it, is their own.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

import structlog

T = TypeVar("T")

MAX_EXPONENT: Final = 20
"""Beyond any cap; keeps the power finite."""
_log: Final = structlog.get_logger(__name__)


def backoff(failures: int, base_s: float, cap_s: float, chance: float = 1.0) -> float:
    """The pause after so many failures before this one. `chance` (0 to 1) takes off up to half of it, so that what
    failed together does not come back together.

    >>> [backoff(failures, 5.0, 3600.0) for failures in (0, 1, 2, 30)], backoff(1, 5.0, 3600.0, chance=0.0)
    ([5.0, 10.0, 20.0, 3600.0], 5.0)
    """
    return float(min(cap_s, base_s * 2 ** min(failures, MAX_EXPONENT))) * (0.5 + chance / 2)


class DueWork(abc.ABC, Generic[T]):
    """`await run()` works until cancelled; `what` names the work in the log. `parallel`: items at the same time."""

    def __init__(self, what: str, parallel: int, clock: Callable[[], float]) -> None:
        self._what = what
        self._parallel = parallel
        self._clock = clock
        self._more = asyncio.Event()

    @abc.abstractmethod
    async def _due(self, now: float) -> Sequence[T]:
        """What is to be tried now, the most urgent first."""

    @abc.abstractmethod
    async def _attempt(self, item: T) -> None:
        """Try once, and record what came of it."""

    @abc.abstractmethod
    async def _next_due(self) -> float | None:
        """When the next item is due; None: there is none."""

    @abc.abstractmethod
    def _pauses(self) -> tuple[float, float]:
        """The first pause and the longest one, in seconds."""

    def wake(self) -> None:
        """Something was queued."""
        self._more.set()

    async def run(self) -> None:
        """Try what is due, and wait for what comes."""
        while True:
            self._more.clear()
            try:
                await self.deliver_due()
                pause = await self._pause()
            except* sqlite3.Error as group:
                _log.error(f"{self._what} cannot be read or marked", error=str(group.exceptions[0]))
                pause = self._pauses()[0]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._more.wait()

    async def deliver_due(self) -> None:
        """One attempt for everything that is due now."""
        items = await self._due(self._clock())
        gate = asyncio.Semaphore(self._parallel)

        async def attempt(item: T) -> None:
            async with gate:
                await self._attempt(item)

        async with asyncio.TaskGroup() as tasks:
            for item in items:
                tasks.create_task(attempt(item))

    async def _pause(self) -> float | None:
        """Seconds until the next one is due; None if there is none."""
        due_at = await self._next_due()
        return None if due_at is None else min(max(0.0, due_at - self._clock()), self._pauses()[1])
