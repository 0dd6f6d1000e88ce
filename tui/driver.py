"""The terminal behind the interface: the library's own, with an output that a slow line can bear."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import IO, Any, Final

from textual import events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui.frugal import Frugal

_OUTPUTS: Final = (1, 2)
"""Standard output and standard error; the library puts others in place of Python's objects for them."""


class Outlet:
    """What is written to. A terminal that is gone is told once, and then takes everything in silence: the library's
    writing thread would end by the error, and whoever writes next would wait for it for ever."""

    def __init__(self, file: IO[str], gone: Callable[[], None]) -> None:
        self._file = file
        self._tell = gone
        self._gone = False

    def write(self, text: str) -> int:
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def _try(self, work: Callable[[], object]) -> None:
        if not self._gone:
            try:
                work()
            except OSError:
                self._gone = True
                nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                for descriptor in _OUTPUTS:  # Python writes out what is left at its end
                    os.dup2(nowhere, descriptor)
                self._tell()


class FrugalDriver(LinuxDriver):
    """Sends only what the screen does not show yet."""

    _frugal: Frugal | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._file = Outlet(sys.__stderr__ or sys.stderr, self._gone)  # type: ignore[assignment]  # all that is written to it is text

    def run_input_thread(self) -> None:
        """The library would show a traceback to a terminal that is not there any more."""
        try:
            super().run_input_thread()
        except OSError:
            self._gone()

    def _gone(self) -> None:
        """The terminal is gone, with its window or its connection: nobody looks. Called from any thread."""
        self._app.call_later(self._app.exit)

    def write(self, data: str) -> None:
        if self._frugal is None:
            self._frugal = Frugal()
        reduced = self._frugal.reduce(data)
        if reduced:
            super().write(reduced)

    def process_message(self, message: Message) -> None:
        if isinstance(message, events.Resize):
            self.forget()
        super().process_message(message)

    def forget(self) -> None:
        """Send everything anew: another size, or somebody else has written to the terminal."""
        if self._frugal is not None:
            self._frugal.forget()
