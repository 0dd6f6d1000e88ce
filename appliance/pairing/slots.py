"""How many linkings may be under way: as many as the memory that is free just now can bear."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MIN_SLOTS: Final = 2
MAX_SLOTS: Final = 16
"""Beyond, the two cores are the limit, not the memory."""
RESERVE_BYTES: Final = 256 << 20
"""Left to the sessions that run already: media that arrives while others are linked."""
SLOT_BYTES: Final = 32 << 20
"""A worker that links: 17 MiB PSS while its user types, some more while it logs in (measured); the phone's history is
capped at a megabyte."""
_NO_LIMIT: Final = 1 << 60
"""Version 1 of the memory controller has a huge number where nothing is limited."""


def slots_for(free_bytes: int) -> int:
    """Slots for this much free memory.

    >>> slots_for(512 << 20)
    8
    """
    return max(MIN_SLOTS, min(MAX_SLOTS, (free_bytes - RESERVE_BYTES) // SLOT_BYTES))


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that can still be used: of the machine (MemAvailable) and of every control group that limits us."""
    free = _available(proc / "meminfo")
    for limit, used in _groups(proc / "self" / "cgroup", groups):
        maximum, current = _number(limit), _number(used)
        if maximum is not None and current is not None and maximum < _NO_LIMIT:
            free = min(free, max(0, maximum - current + _cache(limit.parent / "memory.stat")))
    return free


def _available(meminfo: Path) -> int:
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return 0


def _groups(membership: Path, mount: Path) -> list[tuple[Path, Path]]:
    """Files with limit and use of our control group and those above it (cgroups(7)); nothing where there are none."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[tuple[Path, Path]] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = mount, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = mount / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        group = root / path.lstrip("/")
        folders = [folder for folder in (group, *group.parents) if folder.is_relative_to(root)]
        found += [(folder / names[0], folder / names[1]) for folder in folders]
    return found


def _cache(stat: Path) -> int:
    """File pages that the kernel gives up first: counted as used, but free."""
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(values.get("inactive_file", values.get("total_inactive_file", 0)))


def _number(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
