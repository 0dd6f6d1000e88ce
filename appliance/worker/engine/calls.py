"""Calls into the engine, each bounded in time: none of them has a limit of its own below 75 s, some none at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

THREADS: Final = 16
"""A hung call holds its thread for up to 75 s, or for ever while a dial hangs; threads are made when needed."""
HUNG_LIMIT: Final = 10
"""With so many calls hanging, further ones are refused at once: the process needs to be replaced, not more threads."""


class EngineTimeoutError(Exception):
    """The engine did not answer in time; its thread may hang on."""


class EngineBusyError(Exception):
    """Refused: a call of this kind is under way, or too many hang."""


class BoundedCalls:
    """Runs blocking functions in threads of its own; keeps count of those that nobody waits for any more."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="engine-call")
        self._hung = 0

    async def run(self, timeout_s: float, function: Callable[[], T]) -> T:
        """The function's result. Raises EngineTimeoutError, EngineBusyError, and whatever it raises."""
        if self._hung >= HUNG_LIMIT:
            raise EngineBusyError(f"{self._hung} calls into the engine hang")
        future: Future[T] = self._executor.submit(function)
        waiter = asyncio.wrap_future(future)
        try:
            return await asyncio.wait_for(asyncio.shield(waiter), timeout_s)
        except (TimeoutError, asyncio.CancelledError) as error:
            if not waiter.done():
                self._hung += 1
                waiter.add_done_callback(self._returned)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise EngineTimeoutError(f"the engine did not answer within {timeout_s:g} s") from error

    def _returned(self, waiter: asyncio.Future[T]) -> None:
        self._hung -= 1
        if not waiter.cancelled():
            waiter.exception()  # nobody waits for it; looked at, so that asyncio does not report it
