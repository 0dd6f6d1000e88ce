"""A machine with less memory: a control group that this process and everything that it starts from now on live in.

Version 1 and 2 of control groups are both still met (kernel.org: cgroup-v1/memory.rst, cgroup-v2.rst).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from appliance.bench.rig import BenchError

_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")


class MemoryLimit:
    """A context manager; raises BenchError on entering if no group can be made here."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._version = 1 if (_V1 / "memory.limit_in_bytes").exists() else 2
        self._root = _V1 if self._version == 1 else _V2
        self.name: Final = f"amda-bench-{os.getpid()}"
        """The group, as the kernel calls it in its log."""
        self._group = self._root / self.name
        self._back = self._root / _own_group(self._version).lstrip("/") / "cgroup.procs"
        self.killed = 0
        """Processes that the kernel killed for want of memory; final after leaving."""
        self.peak = 0
        """Bytes, page cache included."""

    def __enter__(self) -> Self:
        try:
            self._group.mkdir()
            self._write("memory.limit_in_bytes" if self._version == 1 else "memory.max", self._limit)
            with contextlib.suppress(OSError):  # there is no swap accounting everywhere
                self._write("memory.memsw.limit_in_bytes" if self._version == 1 else "memory.swap.max", self._no_swap())
            self._write("cgroup.procs", os.getpid())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._group.rmdir()
            raise BenchError(
                f"no memory limit can be set here ({error}); run as root, where the memory controller is in use"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read()
        self._back.write_text(str(os.getpid()), "ascii")
        with contextlib.suppress(OSError):  # somebody of ours still ends
            self._group.rmdir()

    def read(self) -> None:
        """Bring `killed` and `peak` up to date."""
        events = self._group / ("memory.oom_control" if self._version == 1 else "memory.events")
        counts = dict(line.split() for line in events.read_text("ascii").splitlines())
        self.killed = int(counts.get("oom_kill", 0))
        with contextlib.suppress(OSError):  # memory.peak came with Linux 5.19
            name = "memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"
            self.peak = int((self._group / name).read_text("ascii"))

    def _no_swap(self) -> int:
        return self._limit if self._version == 1 else 0

    def _write(self, name: str, value: int) -> None:
        (self._group / name).write_text(str(value), "ascii")


def _own_group(version: int) -> str:
    for line in Path("/proc/self/cgroup").read_text("ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        if (version == 1 and "memory" in controllers.split(",")) or (version == 2 and not controllers):
            return path
    return "/"
