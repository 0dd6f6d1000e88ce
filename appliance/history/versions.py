"""Which version of WhatsApp the engine says it is: WhatsApp refuses old ones (405), so the ledger records it.

The engine has no call that tells it. Its library holds the version as three 32-bit numbers (whatsmeow,
store/clientpayload.go: `WAVersionContainer{2, 3000, …}`), of which the first two have not changed for years.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

from appliance.build import current_engine
from appliance.config import Settings
from appliance.sessions.spec import SpecError, engine_library

_PREFIX: Final = struct.pack("<II", 2, 3000)
_LOWEST: Final = 1_000_000_000
_HIGHEST: Final = 1_999_999_999
"""The third number is WhatsApp Web's build; it had ten digits and began with 1 in every version of 2.3000 so far."""


def configured_whatsapp_version(settings: Settings) -> str:
    """Of the engine that new workers open; empty if that is not known."""
    try:
        return whatsapp_version(engine_library(settings, str(current_engine() or "")))
    except SpecError:
        return ""


def whatsapp_version(library: Path) -> str:
    """For example 2.3000.1047769893; empty if the library cannot be read or does not hold exactly one such version."""
    found: set[int] = set()
    try:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(_PREFIX)
            while at >= 0:
                build = content[at + len(_PREFIX) : at + len(_PREFIX) + 4]
                if len(build) == 4 and _LOWEST <= (number := int.from_bytes(build, "little")) <= _HIGHEST:
                    found.add(number)
                at = content.find(_PREFIX, at + 1)
    except (OSError, ValueError):
        return ""
    return f"2.3000.{found.pop()}" if len(found) == 1 else ""
