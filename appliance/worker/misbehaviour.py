"""What can go wrong inside a worker and cannot be caused from outside: in rehearsals alone, on two signals.

`amda bench isolation` shows with it that one session's trouble is not the others'. A worker of a real session does not
listen to these signals.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Final

BUSY_SIGNAL: Final = signal.SIGRTMIN + 1
"""The event loop spins and does nothing else any more."""
LEAK_SIGNAL: Final = signal.SIGRTMIN + 2
LEAK_STEP_BYTES: Final = 4 << 20
LEAK_PAUSE_S: Final = 0.1
"""40 MiB a second: some ten seconds to the limit, two heartbeats."""


def listen(loop: asyncio.AbstractEventLoop) -> None:
    """Misbehave when asked to."""
    loop.add_signal_handler(BUSY_SIGNAL, spin)
    loop.add_signal_handler(LEAK_SIGNAL, lambda: threading.Thread(target=leak, name="leak", daemon=True).start())


def spin() -> None:
    """Never returns."""
    while True:
        pass


def leak() -> None:
    """Take memory and use it until there is none left for this process."""
    taken: list[bytes] = []
    while True:
        taken.append(b"\xff" * LEAK_STEP_BYTES)
        time.sleep(LEAK_PAUSE_S)
