"""A MinIO server for rehearsals and tests: real, on loopback, with everything in one folder that is thrown away.

A server that keeps people's media is a service of its own; what is set here (one drive, memory limit, no console, no
contact with anybody) is what that service is set to as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.children import end, start_tethered
from appliance.keeper import open_log
from appliance.media.s3_settings import S3Credentials

PROGRAM_VARIABLE: Final = "AMDA_TEST_MINIO"
"""Names a MinIO (or Silo) program that rehearsals and tests shall use."""
PROGRAMS: Final = ("silo", "minio")
"""Looked for on PATH: the maintained server first."""
READY_S: Final = 30.0
"""Measured: 0.4 s; a busy machine takes several."""
STOP_GRACE_S: Final = 10.0
MEMORY_LIMIT: Final = "200MiB"
"""Of the Go runtime: 115 MiB at rest, 213 MiB after three hundred uploads in a row (measured)."""
REQUESTS_MAX: Final = "16"
"""More at once are refused, and repeated by the client; each may hold a part of 5 MiB."""
_POLL_S: Final = 0.05
_USER: Final = "amda-rehearsal"
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST_PORT: Final = 10_000
"""Below are those of well-known services."""
_PORTS: Final = 12_000
"""To choose from: enough that rehearsals beside each other hardly ever choose the same."""
_PORT_TRIES: Final = 100


class MinioError(Exception):
    """The server cannot be had; one line with the remedy."""


def find_minio(environ: Mapping[str, str] | None = None) -> Path | None:
    """The program that `AMDA_TEST_MINIO` names, else one on PATH; None if there is neither."""
    environ = os.environ if environ is None else environ
    if named := environ.get(PROGRAM_VARIABLE):
        return Path(named)
    found = (shutil.which(program, path=environ.get("PATH")) for program in PROGRAMS)
    return next((Path(program) for program in found if program), None)


class MinioServer:
    """One server process with its data, log and credentials in `folder`. `port` stays the same over its restarts."""

    def __init__(self, folder: Path, program: Path | None = None) -> None:
        self._folder = folder
        self._program = program or find_minio()
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()
        self.credentials = S3Credentials(access_key=_USER, secret_key=secrets.token_urlsafe(24))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def credentials_file(self) -> Path:
        """For `storage.credentials`."""
        return self._folder / "s3-credentials.toml"

    async def start(self) -> None:
        """Start it and wait until it serves. Raises MinioError."""
        if self._program is None or not os.access(self._program, os.X_OK):
            raise MinioError(
                f"no MinIO server program{f' at {self._program}' if self._program else ''}: put minio or silo on PATH, "
                f"or name one in {PROGRAM_VARIABLE}"
            )
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(self.credentials_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f'access_key = "{self.credentials.access_key}"\nsecret_key = "{self.credentials.secret_key}"\n')
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ},
            "MINIO_ROOT_USER": self.credentials.access_key,
            "MINIO_ROOT_PASSWORD": self.credentials.secret_key,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_MEMLIMIT": MEMORY_LIMIT,
            "GOMEMLIMIT": MEMORY_LIMIT,
            "MINIO_API_REQUESTS_MAX": REQUESTS_MAX,
            "MINIO_API_TRUSTED_PROXIES": "none",
            "MINIO_CI_CD": "1",  # a folder on the system's own disk is enough for a rehearsal
        }
        command: list[str | os.PathLike[str]] = [self._program, "server", self._folder / "data", "--quiet"]
        command += ["--address", f"127.0.0.1:{self.port}"]
        with open_log(self._folder / "minio.log") as log:
            self._process = await start_tethered(command, environment=environment, output=log)
        deadline = time.monotonic() + READY_S
        while not await self._is_ready():
            if self._process.returncode is not None or time.monotonic() > deadline:
                said = (self._folder / "minio.log").read_text(errors="replace").strip().splitlines()
                await self.stop()
                raise MinioError(f"the MinIO server does not start: {said[-1] if said else 'it said nothing'}")
            await asyncio.sleep(_POLL_S)  # no event tells that a foreign program has opened its port

    async def stop(self) -> None:
        """End it in order; its data stays."""
        if self._process:
            await end(self._process, STOP_GRACE_S)

    async def kill(self) -> None:
        """End it at once, as a power cut of the server would."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _is_ready(self) -> bool:
        """`/minio/health/ready` answers 200 as soon as objects can be stored."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"GET /minio/health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()


def free_port() -> int:
    """A TCP port that nobody uses now, on any address. Not one of those that the kernel gives to outgoing connections
    (ip(7), ip_local_port_range): among thousands of these it is taken the moment after."""
    lowest = int(_EPHEMERAL.read_text("ascii").split()[0])
    choices: Sequence[int] = range(max(_LOWEST_PORT, lowest - _PORTS), lowest) or (0,)
    for _ in range(_PORT_TRIES):
        with contextlib.suppress(OSError), socket.socket() as looking:
            looking.bind(("", random.choice(choices)))  # noqa: S311 - nobody is listened to
            return int(looking.getsockname()[1])
    raise MinioError("no port is free")
