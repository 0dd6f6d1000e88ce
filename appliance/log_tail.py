"""Reads the log of a session's process: whole lines, masked, from a file that the process itself could replace.

It is opened without following links, so that a hostile worker cannot have another file shown. Numbers and secrets are
masked once more, for the log also holds what the engine and libraries print.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from appliance.masking import clean_text

LOG_NAME: Final = "worker.log"
"""As the fork server names it."""
LINE_MAX: Final = 4096
"""Longer lines are cut; tracebacks have many short ones."""
TAIL_BYTES: Final = 1 << 20
"""The fork server moves a longer log aside when a process starts."""
READ_BYTES: Final = 64 * 1024


class Tail:
    """Reads whole lines of a growing file, from its last `lines` on. Use as a context manager."""

    def __init__(self, store: Path, lines: int) -> None:
        self._store = store
        self._lines = lines
        self._fd = -1
        self._rest = b""

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self) -> list[str]:
        """Complete lines that were not read yet; empty if there are none, or no file (any more)."""
        found: list[bytes] = []
        if self._fd < 0:
            self._open()
            if self._fd < 0:
                return []
            self._skip_to_tail()
        while data := os.read(self._fd, READ_BYTES):
            *whole, self._rest = (self._rest + data).split(b"\n")
            found += whole
            if len(self._rest) > LINE_MAX:
                found.append(self._rest)
                self._rest = b""
        if self._moved():
            self._close()
            self._lines = TAIL_BYTES  # of the file that takes its place, everything is new
        return [shown(line) for line in found]

    def _open(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                parent = os.open(self._store.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, parent)
                flags = os.O_NOFOLLOW | os.O_CLOEXEC
                folder = os.open(self._store.name, os.O_PATH | os.O_DIRECTORY | flags, dir_fd=parent)
                stack.callback(os.close, folder)
                fd = os.open(LOG_NAME, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=folder)
            except OSError:
                return
            if stat.S_ISREG(os.fstat(fd).st_mode):
                self._fd = fd
            else:
                os.close(fd)

    def _skip_to_tail(self) -> None:
        """Stand before the last lines that are wanted."""
        size = os.fstat(self._fd).st_size
        start = max(0, size - TAIL_BYTES)
        data = os.pread(self._fd, size - start, start)
        end = len(data)
        for _ in range(self._lines + 1):
            end = data.rfind(b"\n", 0, end)
            if end < 0:
                break
        os.lseek(self._fd, start + end + 1, os.SEEK_SET)

    def _moved(self) -> bool:
        """Whether another file has its name now, or it was cut."""
        try:
            named = (self._store / LOG_NAME).lstat()
        except OSError:
            return True
        ours = os.fstat(self._fd)
        return (named.st_ino, named.st_dev) != (ours.st_ino, ours.st_dev) or ours.st_size < os.lseek(
            self._fd, 0, os.SEEK_CUR
        )

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._rest = b""


def shown(line: bytes) -> str:
    """A line as it may be shown: text, not too long, without secrets, numbers and control characters."""
    text = clean_text(line[:LINE_MAX].decode(errors="replace"))
    return "".join(character if character.isprintable() or character == "\t" else "·" for character in text)
