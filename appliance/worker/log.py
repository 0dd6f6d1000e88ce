"""A worker's log: JSON lines on standard error, which is `worker.log` of its store, bounded in size.

The engine's library prints to the same descriptors (a Go panic, for example), so the file is exchanged beneath them.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

FILE: Final = "worker.log"
MAX_BYTES: Final = 1 << 20
"""Of the current file; one older file is kept beside it."""
_CHECK_EVERY: Final = 50
"""Lines between two looks at the size."""
_TEXT_LIMIT: Final = 2000
_STDOUT, _STDERR = 1, 2


class LogLine(msgspec.Struct, frozen=True):
    at: float
    level: str
    text: str


class WorkerLog:
    """Written from any thread. Carries no message content and no full phone number: callers see to that."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._lines = 0

    def write(self, level: str, text: str) -> None:
        """One line. A full disk drops it."""
        line = msgspec.json.encode(LogLine(round(time.time(), 3), level, text[:_TEXT_LIMIT])) + b"\n"
        with self._lock, contextlib.suppress(OSError):
            os.write(_STDERR, line)
            self._lines += 1
            if self._lines % _CHECK_EVERY == 0:
                self._rotate()

    def _rotate(self) -> None:
        current = os.fstat(_STDERR)
        if not stat.S_ISREG(current.st_mode) or current.st_size < MAX_BYTES:
            return  # a terminal or a pipe (plain launcher), or still small
        self._path.replace(self._path.with_suffix(".log.1"))
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.dup2(fd, _STDOUT)
        os.dup2(fd, _STDERR)
        os.close(fd)
