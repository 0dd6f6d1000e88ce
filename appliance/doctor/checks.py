"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from appliance.doctor.check import Check
from appliance.doctor.machine import (
    backup,
    certificates,
    clock,
    database,
    disk,
    engine,
    index,
    journald,
    kernel,
    leftovers,
    memory,
    modes,
    ports,
    processes,
    quota,
    redis,
    settings,
    sockets,
    store,
    swap,
    timezone,
    units,
)
from appliance.doctor.rooms import parts, workers

MACHINE: Final[Sequence[Check]] = (
    settings.CHECK,
    units.CHECK,
    database.CHECK,
    redis.CHECK,
    store.CHECK,
    index.CHECK,
    quota.CHECK,
    disk.CHECK,
    memory.CHECK,
    swap.CHECK,
    clock.CHECK,
    timezone.CHECK,
    kernel.CHECK,
    engine.CHECK,
    processes.CHECK,
    modes.CHECK,
    ports.CHECK,
    certificates.CHECK,
    backup.CHECK,
    journald.CHECK,
    sockets.CHECK,
    leftovers.CHECK,
)
"""What anybody can look at who is on the machine; how much of it depends on who that is."""
ROOMS: Final = {parts.NAME: parts.LOOKS_AT, workers.NAME: workers.LOOKS_AT}
"""What only the daemon can look at, for it alone knows what it holds."""


def names() -> list[str]:
    return [*ROOMS, *(check.name for check in MACHINE)]


def chosen(checks: Iterable[Check], only: Iterable[str]) -> list[Check]:
    """All, if `only` names none."""
    wanted = set(only)
    return [check for check in checks if not wanted or check.name in wanted]
