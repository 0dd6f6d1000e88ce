"""The largest memory of each kind of process while media is taken in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.bench.measure import pss_mib
from appliance.bench.rig import Rig
from appliance.processes import children_of

PERIOD_S: Final = 0.5
WORKERS_EVERY: Final = 6
"""Asking the kernel for the memory of sixty workers takes a tenth of a second of CPU."""
_FFMPEG: Final = "ffmpeg"


class Peaks:
    """`run()` measures until cancelled. `others`: further processes by name, as long as they run."""

    def __init__(self, rig: Rig, others: Callable[[], dict[str, int]]) -> None:
        self._rig = rig
        self._others = others
        self.largest: dict[str, float] = {}
        """MiB of PSS by kind: worker, daemon, ffmpeg, pictures, forkserver, redis, …"""
        self.total = 0.0

    async def run(self) -> None:
        number, workers = 0, 0.0
        while True:
            if number % WORKERS_EVERY == 0:
                found = await asyncio.to_thread(self._workers)
                workers = sum(found)
                self._note("worker", max(found, default=0.0))
            self.total = max(self.total, workers + await asyncio.to_thread(self._parts))
            number += 1
            await asyncio.sleep(PERIOD_S)

    def _workers(self) -> list[float]:
        return [pss_mib(pid) for pid in self._rig.appliance.worker_pids()]

    def _parts(self) -> float:
        parts = {**self._rig.appliance.pids(), **self._others()}
        found = {name: pss_mib(pid) for name, pid in parts.items()}
        children: dict[str, float] = {}
        for pid in children_of(parts.get("daemon", 0)):
            kind = "ffmpeg" if _name(pid).startswith(_FFMPEG) else "pictures"
            children[kind] = children.get(kind, 0.0) + pss_mib(pid)
        for name, size in {**found, **children}.items():
            self._note(name, size)
        return sum(found.values()) + sum(children.values())

    def _note(self, name: str, size: float) -> None:
        self.largest[name] = max(self.largest.get(name, 0.0), size)


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace")
    return ""
