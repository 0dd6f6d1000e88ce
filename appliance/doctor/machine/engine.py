"""The engine that new sessions open: its version and its age. WhatsApp refuses old ones several times a year."""

from __future__ import annotations

import datetime
import mmap
import re
import time
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, ok, problem, unseen, warning
from appliance.history.versions import whatsapp_version
from appliance.sessions.spec import SpecError, engine_library

AGEING_DAYS: Final = 90
OLD_DAYS: Final = 240
"""WhatsApp has refused versions of three months, and taken some of nearly a year."""
_MODULE: Final = re.compile(rb"whatsmeow\tv[0-9.]+-(\d{14})-([0-9a-f]{12})")
"""In what Go writes into each program of the modules that it was built from: a pseudo-version with the time of its
last change."""
_DAY_S: Final = 86_400.0


def look(patient: Patient) -> list[Seen]:
    if patient.settings.network.staging is not None:
        return [ok("a staging network's own copy is used, which WhatsApp never sees", "engine: staging")]
    try:
        library = engine_library(patient.settings)
    except SpecError as error:
        return [problem(str(error), "Run install.sh again, or set engine.library.")]
    looked_at = f"engine {library}"
    try:
        made = _made(library)
    except PermissionError:
        return [unseen("this user may not read it", looked_at)]
    except (OSError, ValueError) as error:
        return [problem(f"it cannot be read: {error}", "Run install.sh again, or correct engine.library.", looked_at)]
    if made is None:
        return [warning("it does not say what it was built from", "Is this a library of the engine at all?", looked_at)]
    at, commit = made
    days = (time.time() - at) / _DAY_S
    told = f"of {datetime.datetime.fromtimestamp(at, datetime.UTC):%Y-%m-%d} ({commit}), {days:.0f} days old"
    if version := whatsapp_version(library):
        told = f"{told}; it says to WhatsApp that it is {version}"
    if days > OLD_DAYS:
        return [problem(f"{told}: WhatsApp may refuse it any day", _UPGRADE, looked_at)]
    if days > AGEING_DAYS:
        return [warning(told, _UPGRADE, looked_at)]
    return [ok(told, looked_at)]


_UPGRADE: Final = "Upgrade the engine before all sessions stand still: amda engine upgrade"


def _made(library: Path) -> tuple[float, str] | None:
    """When its protocol library was last changed, and the change. Raises OSError, ValueError for an empty file."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = _MODULE.search(content)
        if found is None:
            return None
        at, commit = found[1].decode(), found[2].decode()
    return datetime.datetime.strptime(f"{at}+0000", "%Y%m%d%H%M%S%z").timestamp(), commit


CHECK: Final = Check("engine", "WhatsApp engine that new sessions open", in_thread(look))
