"""The terminal behind the interface: the library's own, with an output that a slow line can bear."""

from __future__ import annotations

from textual import events
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui.frugal import Frugal


class FrugalDriver(LinuxDriver):
    """Sends only what the screen does not show yet."""

    _frugal: Frugal | None = None

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
