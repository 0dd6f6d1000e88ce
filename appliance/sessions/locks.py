"""One operation at a time for a session: pair, start, stop, remove, import, restore and move exclude each other.

Whoever comes second is told at once who holds it; nobody waits in line for a human who types a code.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from appliance.problems import conflict


class _Holder(NamedTuple):
    operation: str
    since: float


class OperationLocks:
    """Held in memory: an operation does not outlive the daemon that carries it out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._held: dict[str, _Holder] = {}
        self._clock = clock

    def acquire(self, session: str, operation: str) -> None:
        """Raises a 409 `ProblemError` that names the holder."""
        if holder := self._held.get(session):
            seconds = self._clock() - holder.since
            raise conflict(
                f"Session {session} is busy: {holder.operation} is under way for {seconds:.0f} s.",
                "Try again when that has ended.",
            )
        self._held[session] = _Holder(operation, self._clock())

    def release(self, session: str) -> None:
        """Give it back; harmless if nobody holds it."""
        self._held.pop(session, None)

    def holder(self, session: str) -> str | None:
        """The operation that is under way."""
        holder = self._held.get(session)
        return holder.operation if holder else None

    @contextlib.contextmanager
    def hold(self, session: str, operation: str) -> Iterator[None]:
        """`acquire` for the length of a block."""
        self.acquire(session, operation)
        try:
            yield
        finally:
            self.release(session)
