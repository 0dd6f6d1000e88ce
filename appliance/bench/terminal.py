"""A program in a pseudo-terminal of its own: when its bytes came, what they were, and what the process cost."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from appliance.bench import measure
from appliance.bench.rig import BenchError

_CHUNK_BYTES: Final = 65_536
END_S: Final = 5.0
"""What the program gets to end after it was asked to."""


class Terminal:
    """An asynchronous context manager; the program is started when it is entered and ended when it is left."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int, rows: int) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._size = struct.pack("HHHH", rows, columns, 0, 0)
        self._fd = -1
        self.pid = 0
        self._arrived = asyncio.Event()
        self._ended: asyncio.Task[tuple[int, int]] | None = None
        self.started = 0.0
        self.status: int | None = None
        """How the program ended: its exit status, or minus the signal that ended it; None: it runs."""
        self.output = bytearray()
        self.arrivals: list[tuple[float, int]] = []
        """When (monotonic), and how long the output was then."""

    async def __aenter__(self) -> Self:
        self.started = time.monotonic()
        self.pid, self._fd = pty.fork()
        if not self.pid:  # the child
            with contextlib.suppress(OSError):
                os.execvpe(self._command[0], self._command, self._environment)  # noqa: S606 - no shell, our own list
            os._exit(127)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, self._size)
        os.set_blocking(self._fd, False)
        asyncio.get_running_loop().add_reader(self._fd, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await self.ended()
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            await self.ended()

    async def ended(self) -> int:
        """Wait until the program has ended by itself; how."""
        if self._ended is None:
            self._ended = asyncio.create_task(asyncio.to_thread(os.waitpid, self.pid, 0))
        self.status = os.waitstatus_to_exitcode((await asyncio.shield(self._ended))[1])
        return self.status

    def cpu_s(self) -> float:
        """CPU time of the program so far."""
        return measure.cpu_seconds([self.pid])

    def rss_mib(self) -> float:
        """Resident memory, what is shared with others included."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    async def until(self, seen: Callable[[bytes], bool], timeout_s: float, *, after: int = 0) -> float:
        """When the output beyond `after` first satisfied `seen` (monotonic). Raises BenchError."""
        checked = 0
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for at, length in self.arrivals[checked:]:
                        checked += 1
                        if length > after and seen(bytes(self.output[after:length])):
                            return at
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            tail = bytes(self.output[-300:])
            raise BenchError(f"the screen did not show it within {timeout_s:.0f} s; it ended with {tail!r}") from None

    def _read(self) -> None:
        try:
            piece = os.read(self._fd, _CHUNK_BYTES)
        except OSError:  # the program has ended
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(self._fd)
            return
        self.output += piece
        self.arrivals.append((time.monotonic(), len(self.output)))
        self._arrived.set()
