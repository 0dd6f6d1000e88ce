"""What a rehearsal's appliance lives in: where its media goes, how much memory there is, how large its disk is.

With a memory limit, this process, the appliance and the MinIO server share it; the staging network, which a server does
not have, has memory of its own.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from appliance.bench.media_choices import MediaStore
from appliance.bench.media_disturb import small_disk
from appliance.bench.memory_limit import MemoryLimit
from appliance.bench.rig import BenchError, Rig
from appliance.minio_server import MinioError, MinioServer

SESSIONS_LIMIT: Final = 100
"""The shipped `limits.sessions`; larger rehearsals need more."""
_MIB: Final = 1 << 20
_LOW_WATER: Final = {"AMDA_CAPTURE_MIN_FREE_BYTES": str(256 << 20)}
"""Of the small disk: as much of it as the shipped setting is of the smallest machine's."""


class MemoryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a result says of the limit: base of the results of rehearsals that can be carried out under one."""

    memory_limit_mib: int
    """0: there was none, and the other two are 0 as well."""
    memory_peak_mib: int
    """Page cache included."""
    killed_for_memory: int
    """Processes that the kernel killed for want of memory."""


def s3_variables(minio: MinioServer) -> dict[str, str]:
    """Settings of an appliance whose media goes there."""
    return {
        "AMDA_STORAGE_KIND": MediaStore.S3.value,
        "AMDA_STORAGE_ENDPOINT": minio.endpoint,
        "AMDA_STORAGE_CREDENTIALS": str(minio.credentials_file),
    }


class Surroundings:
    """A context manager around a rig of `rig()`. Raises BenchError on leaving if the MinIO server cannot be had."""

    def __init__(
        self, *, store: MediaStore = MediaStore.FOLDER, memory_limit: int = 0, with_small_disk: bool = False
    ) -> None:
        """`memory_limit` in bytes; 0: none."""
        self.store = store
        self._memory = MemoryLimit(memory_limit) if memory_limit else None
        self._memory_limit = memory_limit
        self._small_disk = with_small_disk
        self._folder = Path(tempfile.mkdtemp(prefix="amda-bench-s3-"))
        self.minio = MinioServer(self._folder) if store is MediaStore.S3 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if isinstance(error, MinioError):
            raise BenchError(str(error)) from error

    def rig(self, *, sessions: int, keep: bool = False) -> Rig:
        """An appliance with the shipped settings, in these surroundings; to be entered."""
        limit = max(SESSIONS_LIMIT, sessions)
        return Rig(keep=keep, variables={"AMDA_LIMITS_SESSIONS": str(limit), **self._variables()}, around=self._around)

    def others(self) -> dict[str, int]:
        """Processes (name → pid) that are part of a server and not of the appliance."""
        pid = self.minio.pid if self.minio else None
        return {} if pid is None else {"minio": pid}

    def memory_figures(self) -> dict[str, int]:
        """The fields of `MemoryFigures`, up to now."""
        if self._memory is not None:
            self._memory.read()
        return {
            "memory_limit_mib": self._memory_limit // _MIB,
            "memory_peak_mib": self._memory.peak // _MIB if self._memory else 0,
            "killed_for_memory": self._memory.killed if self._memory else 0,
        }

    def _variables(self) -> dict[str, str]:
        found = dict(_LOW_WATER) if self._small_disk else {}
        if self.minio is not None:
            found |= s3_variables(self.minio)
        return found

    @contextlib.asynccontextmanager
    async def _around(self, rig: Rig) -> AsyncIterator[None]:
        """Between the start of the network and that of the appliance."""
        async with contextlib.AsyncExitStack() as stack:
            if self._small_disk:
                await stack.enter_async_context(small_disk(rig.settings.paths.state_dir))
            if self._memory is not None:
                stack.enter_context(self._memory)
            if self.minio is not None:
                await self.minio.start()
                stack.push_async_callback(self.minio.stop)
            yield
