"""Keeps a freshly linked engine from logging in before its turn: keys and history are the peak of memory and disk.

The phone decides when it accepts, and the engine dials again at once. But it writes a log line before it dials, and
waits while we read it: so the reader of the log waits here until the daemon says go.
"""

from __future__ import annotations

import threading


class FirstLogin:
    """`hold`, `linked` and `before_dial` in threads of the engine; the rest in any thread."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._limit_s = 0.0
        self._linked = False

    def hold(self, limit_s: float) -> None:
        """The dial that follows linking waits for `go`, at most so many seconds: a phone waits for its new device, and
        gives it up after some time."""
        self._limit_s = limit_s

    def linked(self) -> None:
        """WhatsApp has accepted this device; the next dial is its first login."""
        self._linked = True

    def go(self) -> None:
        """Its turn has come, or it is to end."""
        self._go.set()

    def before_dial(self) -> None:
        """Wait, if this is the dial that has to."""
        if self._linked and self._limit_s:
            self._go.wait(self._limit_s)
            self._limit_s = 0.0
