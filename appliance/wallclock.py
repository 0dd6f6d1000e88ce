"""The wall clock, which a rehearsal can set without touching the machine's.

Nobody but root may set the machine's clock, and no namespace gives a process one of its own. So in staging mode, and
there only, a file beside the staging network says by how much "now" is wrong; whoever was given a clock of this module
follows it at once. What this does not reach is what asks the kernel itself: the engine's own timers (monotonic anyway),
Redis, time stamps of files.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

FILE: Final = "clock-offset"
"""In the folder of the staging network; it is there only while a rehearsal wants to set the clock."""
VARIABLE: Final = "AMDA_STAGING_CLOCK"
"""Names that file to the fork server and its workers, which read no settings."""
_OFFSET: Final = struct.Struct("=d")
"""Seconds, written in one piece: eight aligned bytes are never seen half written."""

Clock = Callable[[], float]
"""Seconds since the epoch."""


def wall_clock(file: Path | None) -> Clock:
    """The clock that `file` sets; the machine's if there is no such file."""
    if file is None:
        return time.time
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time

    def now() -> float:
        (offset,) = _OFFSET.unpack(os.pread(fd, _OFFSET.size, 0))
        return time.time() + float(offset)

    return now


def rehearsed_clock(staging: Path | None) -> Clock:
    """The clock of an appliance on the staging network in this folder; None: it is on WhatsApp."""
    return wall_clock(None if staging is None else staging / FILE)


def staging_clock(environment: Mapping[str, str]) -> Clock:
    """The clock of a process that is told by its environment."""
    file = environment.get(VARIABLE)
    return wall_clock(Path(file) if file else None)


class ClockSetter:
    """The rehearsal's side: makes the file, and sets the clock of everybody who follows it."""

    def __init__(self, staging: Path) -> None:
        self._file = staging / FILE
        self.offset = 0.0

    def begin(self) -> None:
        """Before the appliance is started. Raises OSError."""
        self._file.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(_OFFSET.pack(self.offset))

    def set(self, offset: float) -> None:
        """From now on their clock is `offset` seconds ahead of the machine's."""
        with self._file.open("r+b", buffering=0) as file:
            file.write(_OFFSET.pack(offset))
        self.offset = offset
