"""The whole appliance as children of one process: `amda run`, the demo, tests and rehearsals. A server has systemd.

Redis, the fork server and the daemon are started in order, each one that ends is started again, and all of them end in
the reverse order; whatever happens to this process, the kernel leaves none of them behind (`tether`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from appliance.build import engine_environment
from appliance.children import package_environment
from appliance.config import Settings
from appliance.keeper import Keeper, Part, PartError, Program, open_log
from appliance.network import NetworkError, network_environment
from appliance.processes import children_of
from appliance.redis_server import RedisDamagedError, RedisError, RedisMissingError, RedisServer

DAEMON_GRACE_S: Final = 15.0
"""It answers what it has begun and closes its database."""
FORK_SERVER_GRACE_S: Final = 20.0
"""Its workers get 10 s to say goodbye and are killed then; that takes 5 s at the very most."""
REDIS_RETRY_S: Final = 30.0
"""A missing or damaged Redis waits for a human; its remedy takes effect without a restart of the appliance."""

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EmbeddedError(Exception):
    """The appliance cannot be started; one line that names the remedy."""


class AlreadyRunningError(EmbeddedError):
    """Another one works on the same folder."""


class OwnRedis:
    """Redis as a part. The appliance works without it: what only a human can mend is tried again now and then."""

    name = "redis"

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    @property
    def pid(self) -> int | None:
        return self._server.pid

    async def start(self) -> None:
        try:
            await self._server.start()
        except (RedisMissingError, RedisDamagedError) as error:
            raise PartError(str(error), REDIS_RETRY_S) from error
        except RedisError as error:
            raise PartError(str(error)) from error

    async def wait(self) -> int:
        return await self._server.wait()

    async def stop(self) -> None:
        await self._server.stop()


class EmbeddedAppliance:
    """The running appliance; an asynchronous context manager.

    `config` is the settings file that the daemon reads and watches; without one it gets a file with `settings` as they
    are. `quiet` sends the parts' output to files in `logs/`, otherwise it goes where ours goes.
    """

    def __init__(self, settings: Settings, *, config: Path | None = None, quiet: bool = True) -> None:
        self._settings = settings
        self._config = config
        self._quiet = quiet
        self._lock: IO[str] | None = None
        self._redis_log: IO[bytes] | None = None
        self._keepers: dict[str, Keeper] = {}

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def api_socket(self) -> Path:
        return self._settings.paths.api_socket

    @property
    def state_dir(self) -> Path:
        return self._settings.paths.state_dir

    def pids(self) -> dict[str, int]:
        """Process numbers of the parts that run now: `redis`, `forkserver`, `daemon`."""
        return {name: pid for name, keeper in self._keepers.items() if (pid := keeper.part.pid) is not None}

    async def start(self) -> None:
        """Until the API answers. Raises EmbeddedError: another one runs here, or a part's own reason."""
        paths = self._settings.paths
        for folder in (paths.state_dir, paths.run_dir, paths.state_dir / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _take_lock(paths.run_dir / "run.lock", paths.state_dir)
        fork_server = self._begin(self._fork_server())
        if self._settings.redis.own and self._settings.redis.url is None:
            with contextlib.suppress(PartError):  # told by its keeper; pairing waits, the rest starts without it
                await self._begin(self._redis()).first_start()
        try:
            await fork_server.first_start()
            await self._begin(self._daemon()).first_start()
        except PartError as error:
            raise EmbeddedError(str(error)) from error

    async def stop(self) -> None:
        """End all parts in order: daemon, fork server with its workers, Redis. Leaves no process and no socket."""
        for name in ("daemon", "forkserver", "redis"):
            if keeper := self._keepers.pop(name, None):
                await keeper.stop()
        if self._redis_log:
            self._redis_log.close()
            self._redis_log = None
        if self._lock:
            self._lock.close()
            self._lock = None

    async def kill(self, name: str) -> None:
        """SIGKILL to a part, and wait until it is gone; it is started again by itself. Raises PartError."""
        await self._keepers[name].signal(signal.SIGKILL)

    async def restart(self, name: str) -> None:
        """End a part in order and wait until it serves again. Raises PartError if it does not run."""
        await self._keepers[name].signal(signal.SIGTERM)
        await self.wait_ready(name)

    async def wait_ready(self, name: str) -> None:
        """Until a part serves (again); unbounded, see asyncio.timeout."""
        await self._keepers[name].ready()

    async def kill_daemon(self) -> None:
        await self.kill("daemon")

    async def restart_daemon(self) -> None:
        await self.restart("daemon")

    def worker_pids(self) -> list[int]:
        """Process numbers of the fork server's children: one worker each."""
        fork_server = self.pids().get("forkserver")
        return [] if fork_server is None else children_of(fork_server)

    async def run(self, ready: Callable[[], None]) -> signal.Signals:
        """Start, call `ready`, and stop in order at SIGINT, SIGTERM or SIGHUP, at whatever moment it comes; returns
        which. Raises EmbeddedError if it cannot be started."""
        loop = asyncio.get_running_loop()
        received: asyncio.Future[signal.Signals] = loop.create_future()

        def note(number: signal.Signals) -> None:
            if not received.done():
                received.set_result(number)

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, note, number)
        starting = asyncio.create_task(self.start(), name="start")
        try:
            await asyncio.wait((starting, received), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                ready()
            return await received
        finally:
            starting.cancel()
            await asyncio.wait([starting])
            await self.stop()
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)

    def _begin(self, part: Part) -> Keeper:
        keeper = self._keepers[part.name] = Keeper(part)
        keeper.begin()
        return keeper

    def _redis(self) -> Part:
        paths = self._settings.paths
        self._redis_log = open_log(paths.state_dir / "logs" / "redis.log")
        server = RedisServer(folder=paths.state_dir / "redis", socket=paths.redis_socket, log=self._write_redis_log)
        return OwnRedis(server)

    def _write_redis_log(self, line: str) -> None:
        if self._redis_log:
            self._redis_log.write(line.encode() + b"\n")
            self._redis_log.flush()

    def _fork_server(self) -> Part:
        try:
            environment = package_environment(os.environ) | network_environment(self._settings.network.staging)
        except NetworkError as error:
            raise EmbeddedError(str(error)) from error
        environment |= engine_environment(environment)
        socket = self._settings.paths.fork_socket
        return Program(
            "forkserver",
            [sys.executable, "-P", "-m", "appliance.forkserver", "--socket", str(socket)],
            socket=socket,
            environment=environment,
            grace_s=FORK_SERVER_GRACE_S,
            log=self._log_file("forkserver"),
        )

    def _daemon(self) -> Part:
        config, environment = self._config, package_environment(os.environ)
        if config is None:
            environment = {name: value for name, value in environment.items() if not name.startswith("AMDA_")}
            config = self._settings.paths.run_dir / "settings.toml"
            write_private(config, settings_text(self._settings))
        return Program(
            "daemon",
            [sys.executable, "-P", "-m", "appliance", "daemon", "--config", str(config)],
            socket=self._settings.paths.api_socket,
            environment=environment,
            grace_s=DAEMON_GRACE_S,
            log=self._log_file("daemon"),
        )

    def _log_file(self, name: str) -> Path | None:
        return self._settings.paths.state_dir / "logs" / f"{name}.log" if self._quiet else None


def _take_lock(path: Path, state: Path) -> IO[str]:
    """The lock lasts as long as the file is open, whatever ends this process. Raises AlreadyRunningError."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise AlreadyRunningError(
            f"another appliance (process {holder}) works on {state}; stop it, or name another state folder"
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def write_private(path: Path, text: str) -> None:
    """Put a file that only we may read in place in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def settings_text(settings: Settings) -> str:
    """Settings as the file that gives them; JSON's strings, numbers and lists are TOML's as well."""
    sections: dict[str, dict[str, object]] = msgspec.to_builtins(settings, enc_hook=str)
    lines: list[str] = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None
        ]
    return "\n".join(lines) + "\n"
