"""What a worker can say about itself: memory, and how late its event loop runs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.processes import pss_bytes

PSS_MAX_AGE_S: Final = 300.0
PSS_RSS_STEP: Final = 1 << 20
"""The kernel walks all page tables for the PSS (1–2 ms); the RSS is free. So the PSS is read again when the RSS has
moved by this much or the figure is old: sixty workers that read it with every heartbeat would take 2 % of a core."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_RSS_FIELD: Final = 1


def rss_bytes() -> int:
    """Resident memory of this process, shared pages counted in full."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[_RSS_FIELD]) * _PAGE


class MemoryGauge:
    """The PSS of this process, read seldom."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pss = 0
        self._rss = 0
        self._read_at = float("-inf")

    def pss(self) -> int:
        """In bytes, at most `PSS_MAX_AGE_S` old."""
        rss, now = rss_bytes(), self._clock()
        if abs(rss - self._rss) >= PSS_RSS_STEP or now - self._read_at >= PSS_MAX_AGE_S:
            self._pss, self._rss, self._read_at = pss_bytes(), rss, now
        return self._pss


class LoopLag:
    """How much later than asked the event loop runs. It is measured where something is due anyway, at heartbeats and at
    what the engine's threads hand over: a timer of its own would wake sixty workers every second for nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._largest = 0.0

    def note(self, due: float) -> None:
        """Something that was due at `due` (monotonic seconds) is being done now."""
        self._largest = max(self._largest, self._clock() - due)

    async def sleep(self, seconds: float) -> None:
        """Sleep, and note how much too long it took."""
        due = self._clock() + seconds
        await asyncio.sleep(seconds)
        self.note(due)

    def take(self) -> float:
        """The largest lag since the last call, in seconds."""
        largest, self._largest = self._largest, 0.0
        return largest
