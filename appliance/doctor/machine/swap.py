"""Swap: on a small machine the difference between a slow minute and a killed session."""

from __future__ import annotations

from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, unseen, warning
from appliance.doctor.machine.memory import meminfo

SMALL: Final = 4 << 30
"""Bytes of memory from which on sixty sessions with their peaks fit without swap."""
FULL_SHARE: Final = 0.8


def look(patient: Patient) -> list[Seen]:
    told = meminfo(patient)
    if "SwapTotal" not in told:
        return [unseen("the kernel does not say")]
    total, used = told["SwapTotal"], told["SwapTotal"] - told.get("SwapFree", 0)
    if total == 0:
        if told.get("MemTotal", 0) >= SMALL:
            return [ok("there is none, and memory enough without")]
        found = f"there is none, and {told.get('MemTotal', 0) >> 20} MiB of memory: a peak kills a session"
        return [info(found, _MAKE)]
    found = f"{used >> 20} of {total >> 20} MiB are used"
    if used > FULL_SHARE * total:
        return [warning(f"{found}: the next peak kills a session", "Look what takes the memory, or rent more.")]
    return [ok(found)]


_MAKE: Final = (
    "fallocate -l 1G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile; then /etc/fstab"
)

CHECK: Final = Check("swap", "swap", in_thread(look), needs_settings=False)
