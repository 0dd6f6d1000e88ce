"""What a rehearsal measures of processes: memory as PSS, so that shared pages count once, and CPU time used."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.processes import children_of, pss_bytes

MIB: Final = 1 << 20
_NS_PER_S: Final = 1_000_000_000


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """PSS in MiB of the appliance's processes at one moment."""

    parts: dict[str, float]
    """By part: daemon, forkserver, redis, …"""
    workers: list[float]

    @property
    def worker_mean(self) -> float:
        return sum(self.workers) / len(self.workers) if self.workers else 0.0

    @property
    def worker_max(self) -> float:
        return max(self.workers, default=0.0)

    @property
    def total(self) -> float:
        return sum(self.parts.values()) + sum(self.workers)


def pss_mib(pid: int) -> float:
    """PSS of a process in MiB; 0 if it has ended meanwhile."""
    try:
        return pss_bytes(pid) / MIB
    except (OSError, ProcessLookupError):
        return 0.0


def memory(parts: dict[str, int], fork_server: int) -> Memory:
    """Memory of the named parts (name → pid) and of every worker of the fork server."""
    return Memory(
        parts={name: pss_mib(pid) for name, pid in parts.items()},
        workers=[pss_mib(pid) for pid in children_of(fork_server)],
    )


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that these processes have used since their start, in seconds; those that have ended count 0.

    From schedstat (nanoseconds, proc_pid_schedstat(5)) over all threads: idle workers use less than the 10 ms tick
    that proc_pid_stat(5) counts in.
    """
    return sum(_cpu_ns(pid) for pid in pids) / _NS_PER_S


def _cpu_ns(pid: int) -> int:
    total = 0
    try:
        tasks = list(Path("/proc", str(pid), "task").iterdir())
    except OSError:
        return 0
    for task in tasks:
        with contextlib.suppress(OSError, IndexError):  # a thread that has just ended
            total += int((task / "schedstat").read_bytes().split()[0])
    return total


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; 0 for no values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
