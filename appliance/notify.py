"""Tells the service manager how we are, by systemd's notification protocol (sd_notify(3)); silent without one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

_BEATS_PER_LIMIT: Final = 3
"""Half the limit is what systemd recommends at most; a third forgives one late beat."""


class ServiceManager:
    """Built from the environment that systemd gives; without `NOTIFY_SOCKET` every call does nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        limit_us = environ.get("WATCHDOG_USEC", "")
        pid = environ.get("WATCHDOG_PID", "") or str(os.getpid())
        ours = pid == str(os.getpid()) and limit_us.isdigit()
        self.watchdog_s = int(limit_us) / 1_000_000 if ours and self._address else None
        """The manager restarts us if it hears nothing for so many seconds; None: it does not watch."""

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line that `systemctl status` shows."""
        self._send(f"STATUS={text}")

    async def keep_alive(self) -> None:
        """Beat for ever, as long as the event loop turns. Returns at once if nobody watches."""
        while self.watchdog_s is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / _BEATS_PER_LIMIT)

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A manager that does not listen must not stop us: it notices by itself that it hears nothing.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(message.encode(), address)
