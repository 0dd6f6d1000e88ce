"""The person at the keyboard during a rehearsal: is told things, is asked questions, and may not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from types import TracebackType
from typing import Final, Self, TextIO

from appliance.language import _

_YES: Final = frozenset({"y", "yes", "o", "oui", "j", "ja"})
_NO: Final = frozenset({"n", "no", "non", "nein"})
_READ_BYTES: Final = 4096


class Operator:
    """Speaks on `output`; hears what is typed on standard input, without ever keeping the event loop waiting.

    A context manager, to be entered within the event loop.
    """

    def __init__(self, output: TextIO) -> None:
        self.output = output
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._ended = False
        self._partial = b""
        self._fd = -1

    def __enter__(self) -> Self:
        # A closed standard input, or a file that cannot be waited for: nobody is there to answer.
        with contextlib.suppress(OSError, ValueError):
            fd = sys.stdin.fileno()
            asyncio.get_running_loop().add_reader(fd, self._read)
            self._fd = fd
        self._ended = self._fd < 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_reading()

    def say(self, text: str = "") -> None:
        """A terminal that is gone is no reason to leave anything behind."""
        with contextlib.suppress(OSError, ValueError):
            print(text, file=self.output, flush=True)

    async def confirm(self, question: str, limit_s: float) -> bool | None:
        """Yes or no; None if there is no answer within `limit_s`."""
        while not self._lines.empty():  # typed before it was asked
            self._lines.get_nowait()
        self.say(f"{question} [y/n]")
        deadline = time.monotonic() + limit_s
        while (line := await self._line(deadline - time.monotonic())) is not None:
            word = line.strip().casefold()
            if word in _YES or word in _NO:
                return word in _YES
            self.say(_("Please answer y or n."))
        return None

    async def _line(self, limit_s: float) -> str | None:
        """None when nobody answers (any more)."""
        if self._ended and self._lines.empty():
            return None
        try:
            async with asyncio.timeout(max(0.0, limit_s)):
                line = await self._lines.get()
        except TimeoutError:
            return None
        return line or None

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except OSError:
            data = b""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._lines.put_nowait(line.decode(errors="replace") + "\n")
        if not data:
            self._ended = True
            self._stop_reading()
            self._lines.put_nowait("")

    def _stop_reading(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            self._fd = -1
