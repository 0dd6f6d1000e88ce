"""Whether memory is left for what comes: linking is the peak, and a machine that runs out kills sessions first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, problem, unseen, warning

LITTLE: Final = 256 << 20
"""Bytes: a first login with its history takes some 200 MiB for a while."""
NONE: Final = 96 << 20
"""A download of sixteen megabytes, and the kernel's own reserve."""
STALLED_PERCENT: Final = 5.0
"""Of a minute in which something waited for memory (PSI): below that nobody notices."""


def look(patient: Patient) -> list[Seen]:
    told = meminfo(patient)
    if "MemTotal" not in told:
        return [unseen("the kernel does not say how much memory there is")]
    total, available = told["MemTotal"], told.get("MemAvailable", 0)
    found = f"{available >> 20} of {total >> 20} MiB are available"
    seen = [*_stalls(patient), *_kills(patient)]
    if available < NONE:
        return [problem(f"{found}: sessions will be killed", _REMEDY), *seen]
    if available < LITTLE:
        return [warning(f"{found}: linking a session could be too much", _REMEDY), *seen]
    return [ok(found), *seen]


_REMEDY: Final = "Look what takes it: systemctl status amda.target, ps aux --sort -rss | head; or rent more."


def meminfo(patient: Patient) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", patient.text("/proc/meminfo"), re.MULTILINE)
    return {name: int(value) * 1024 for name, value in lines}


def _stalls(patient: Patient) -> Iterator[Seen]:
    found = re.search(r"^some .*avg60=([\d.]+)", patient.text("/proc/pressure/memory"), re.MULTILINE)
    if found and float(found[1]) > STALLED_PERCENT:
        told = f"for {found[1]} % of the last minute something waited for memory"
        yield warning(told, _REMEDY, "memory pressure (PSI)")


def _kills(patient: Patient) -> Iterator[Seen]:
    found = re.search(r"^oom_kill (\d+)$", patient.text("/proc/vmstat"), re.MULTILINE)
    if found and int(found[1]):
        told = f"since the machine started, {found[1]} processes were killed because memory had run out"
        yield info(told, "journalctl -k --grep 'Out of memory' says which and when", "kills by the kernel")


CHECK: Final = Check("memory", "memory that is available", in_thread(look), needs_settings=False)
