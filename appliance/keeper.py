"""Keeps a program running: started until it serves, started again when it ends, ended in bounded time.

`EmbeddedAppliance` says which programs; here is how. Nothing in it knows what they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Protocol

import structlog

from appliance.children import end, start_tethered
from appliance.sockets import PeerError, remove_socket, wait_connectable

READY_TIMEOUT_S: Final = 60.0
"""Importing everything on a busy small machine takes seconds, a migration of the database some more."""
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_LAST_S: Final = 2.0
"""Pauses before a part is started again double from the first to the last, …"""
STEADY_S: Final = 10.0
"""… and one that has run for this long is started again at once: its end is no sign that the next start fails."""
MAX_LOG_BYTES: Final = 10 << 20
"""A part's longer log is moved aside when the part starts."""
TAIL_BYTES: Final = 4096
"""Of a log, to tell why its part could not start."""

_log = structlog.get_logger(__name__)


class PartError(Exception):
    """A part does not run; one line with its reason. `retry_s`: when to try again, None for the usual backoff."""

    def __init__(self, reason: str, retry_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_s = retry_s


class Part(Protocol):
    """One of the processes; `start` returns when it serves."""

    name: str

    @property
    def pid(self) -> int | None: ...

    async def start(self) -> None:
        """Raises PartError."""

    async def wait(self) -> int: ...

    async def stop(self) -> None: ...


class Program:
    """A part that shows on a unix socket that it is ready."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        socket: Path,
        environment: Mapping[str, str],
        grace_s: float,
        log: Path | None,
    ) -> None:
        self.name = name
        self._command = command
        self._socket = socket
        self._environment = environment
        self._grace_s = grace_s
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(open_log(self._log)) if self._log else None
            process = await start_tethered(self._command, environment=self._environment, output=output)
        self._process = process
        serving = asyncio.create_task(wait_connectable(self._socket, READY_TIMEOUT_S))
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                raise PartError(f"{self.name} ended at its start with status {process.returncode}{self._reason()}")
            await serving
        except PeerError as error:
            await self.stop()
            raise PartError(f"{self.name} does not get ready: {error}{self._reason()}") from error
        finally:
            for task in (serving, ending):
                task.cancel()
            await asyncio.wait((serving, ending))

    async def wait(self) -> int:
        if self._process is None:
            raise PartError(f"{self.name} was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        if self._process and not await end(self._process, self._grace_s):
            _log.warning("part did not end and was killed", part=self.name, grace_s=self._grace_s)
        remove_socket(self._socket)

    def _reason(self) -> str:
        """The last line of its log, if that goes to a file; otherwise it has just been seen."""
        if self._log is None:
            return ""
        with self._log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


class Keeper:
    """Keeps one part running, with growing pauses, until it is told to stop."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: PartError | None = None
        self._settled = asyncio.Event()

    def begin(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=f"keeper of {self.part.name}")

    async def first_start(self) -> None:
        """Until it serves for the first time. Raises PartError if its first start fails; it is tried again even so."""
        await self._settled.wait()
        if self._failure:
            raise self._failure

    async def ready(self) -> None:
        """Until it serves, again."""
        await self._ready.wait()

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal to the running part and wait until its end has been noticed. Raises PartError."""
        pid = self.part.pid
        if pid is None:
            raise PartError(f"{self.part.name} does not run")
        self._ready.clear()
        os.kill(pid, number)
        await self.part.wait()

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.part.stop()

    async def _keep(self) -> None:
        backoff = BACKOFF_FIRST_S
        told = ""
        while True:
            retry_s: float | None = None
            try:
                await self.part.start()
            except PartError as error:
                if told != (told := str(error)):  # a reason that stays is told once
                    _log.error("part cannot start", part=self.part.name, reason=told)
                self._failure = None if self._settled.is_set() else error
                self._settled.set()
                retry_s = error.retry_s
            else:
                told = ""
                self._settled.set()
                self._ready.set()
                _log.info("part runs", part=self.part.name, pid=self.part.pid)
                began = time.monotonic()
                status = await self.part.wait()
                self._ready.clear()
                _log.warning("part ended and is started again", part=self.part.name, status=status)
                if time.monotonic() - began > STEADY_S:
                    backoff = BACKOFF_FIRST_S
                    continue
            await asyncio.sleep(retry_s or backoff)
            backoff = min(2 * backoff, BACKOFF_LAST_S)


def open_log(path: Path) -> IO[bytes]:
    """Append to a log that only we may read; a long one is moved aside first."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")
