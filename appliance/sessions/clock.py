"""Time as sessions need it: a clock that never jumps for deadlines and budgets, and the wall clock for people."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from appliance.sessions.inputs import Now


class SteadyClock:
    """Reads the wall clock once and goes on by the monotonic one: a machine whose clock is set by an hour neither
    retries at once nor waits for an hour."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.wall = wall
        self._offset = wall() - time.monotonic()

    def at(self) -> float:
        """Seconds since the epoch, as if the wall clock had not been touched since the start."""
        return self._offset + time.monotonic()

    def now(self, *, outage: bool = False) -> Now:
        """This moment, with a fresh random number."""
        return Now(at=self.at(), wall=self.wall(), chance=random.random(), outage=outage)  # noqa: S311 - jitter
