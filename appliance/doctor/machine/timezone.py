"""Whether local time is known: quiet hours of alerts and every time that is shown go by it."""

from __future__ import annotations

import datetime
import zoneinfo
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, ok, warning

PROBES: Final = ("Africa/Dakar", "Europe/Paris")
"""One without and one with summer time: an installation without the database knows neither."""


def look(patient: Patient) -> list[Seen]:
    seen = []
    missing = [name for name in PROBES if not _known(name)]
    if missing:
        found = f"there is no database of time zones ({', '.join(missing)} is not known): all times are shown in UTC"
        seen.append(warning(found, "apt install tzdata", "/usr/share/zoneinfo"))
    named = patient.environ.get("TZ", "").removeprefix(":")
    if named and "/" in named and not named.startswith("/") and not _known(named):
        seen.append(warning(f"TZ={named} is not known: times are shown in UTC", "Correct TZ.", "the variable TZ"))
    local = patient.at("/etc/localtime")
    if local.is_symlink() and not local.exists():
        found = f"it leads to {local.readlink()}, which is not there: times are shown in UTC"
        seen.append(warning(found, "timedatectl set-timezone Africa/Dakar, or where you are", "/etc/localtime"))
    now = datetime.datetime.now(datetime.UTC).astimezone()
    return seen or [ok(f"it is {now:%H:%M} ({now.tzname()}, UTC{now:%z}) here")]


def _known(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


CHECK: Final = Check("timezone", "time zone, and the database of all", in_thread(look), needs_settings=False)
