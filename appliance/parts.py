"""What the appliance's parts use: asked of the kernel, of Redis, and of systemd's groups where a process is hidden."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from appliance.model_system import MachineUse, MemoryKind, PartUse

UNITS: Final = Path("/sys/fs/cgroup/system.slice")
"""Where systemd keeps the groups of a system's services (cgroup version 2)."""
_MICRO: Final = 1_000_000


def process_use(name: str, pid: int | None) -> PartUse:
    """One process; without a number, or when it has just ended, only that it is not there."""
    if pid is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            memory, kind = _memory(process)
            return PartUse(
                name=name,
                processes=1,
                pid=pid,
                memory_bytes=memory,
                memory_kind=kind,
                cpu_s=_cpu(process),
                started_at=process.create_time(),
            )
    return PartUse(name=name, processes=0)


def _memory(process: psutil.Process) -> tuple[int, MemoryKind]:
    try:
        return process.memory_full_info().pss, MemoryKind.PSS
    except psutil.AccessDenied:  # of another user, or in another namespace
        return process.memory_info().rss, MemoryKind.RSS


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def workers_use(processes: Iterable[tuple[int, int | None]]) -> PartUse:
    """All of them together: number of each process, and its memory as it last told it itself."""
    count, cpu, known = 0, 0.0, []
    for pid, memory in processes:
        with contextlib.suppress(psutil.Error):
            cpu += _cpu(psutil.Process(pid))
        count += 1
        if memory is not None:
            known.append(memory)
    return PartUse(
        name="workers",
        processes=count,
        memory_bytes=sum(known) if known or not count else None,
        largest_bytes=max(known, default=None),
        cpu_s=cpu,
    )


def unit_use(name: str, unit: str, units: Path = UNITS) -> PartUse | None:
    """A systemd service as its group tells it; None if there is none, or it is not running."""
    folder = units / unit
    try:
        memory = int((folder / "memory.current").read_text("ascii"))
        fields = dict(line.split() for line in (folder / "cpu.stat").read_text("ascii").splitlines())
        processes = len((folder / "cgroup.procs").read_text("ascii").split())
    except (OSError, ValueError):
        return None
    return PartUse(
        name=name,
        processes=processes,
        memory_bytes=memory,
        memory_kind=MemoryKind.GROUP,
        cpu_s=int(fields.get("usage_usec", 0)) / _MICRO,
    )


def machine_use(folder: Path) -> MachineUse:
    """`folder`: on the disk that counts."""
    memory, swap, disk = psutil.virtual_memory(), psutil.swap_memory(), psutil.disk_usage(str(folder))
    return MachineUse(
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        memory_bytes=memory.total,
        memory_available_bytes=memory.available,
        swap_bytes=swap.total,
        swap_used_bytes=swap.used,
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
        started_at=psutil.boot_time(),
    )
