"""How a daemon of ours lives: one per folder, ended by a signal, and never half alive."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

YOUNG_OBJECTS: Final = 50_000
"""New objects after which the youngest are looked through for garbage: some megabytes.

An event for a thousand subscribers makes several thousand that are in use for a moment. With a limit of 5,000 that set
off a look every second, 7 ms long, and each tenth took 50 ms, in which nobody was answered; next to nothing was found.
For it to stay so, whoever leaves must not leave a circle of references behind (`api/events.py`).
"""


class AlreadyRunningError(Exception):
    """Another process holds the lock; one line with the remedy."""


@contextlib.contextmanager
def only_one(lock_file: Path) -> Iterator[None]:
    """Hold the lock for the length of a block; it goes with the process. Raises AlreadyRunningError."""
    make_private(lock_file.parent)
    with os.fdopen(os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "unknown"
            raise AlreadyRunningError(
                f"another daemon (process {holder}) works in {lock_file.parent}; stop it, or name another paths.run_dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def make_private(folder: Path) -> None:
    """Make a folder that nobody else can look into; one that is there keeps its mode."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _settle() -> None:
    """What a start has made stays for as long as the process: it is not looked through for garbage again and again.

    With a thousand clients a full collection took 0.2 s, in which nobody was answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


def stop_request() -> asyncio.Event:
    """Set by SIGTERM, SIGINT or SIGHUP from now on; they end the process no more."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def run_until(stop: asyncio.Event, *background: Coroutine[Any, Any, None]) -> None:
    """Run the background work until `stop`. Work that breaks ends all of it: half of it must not look alive."""
    _settle()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in background]
        await stop.wait()
        for task in tasks:
            task.cancel()
