"""Whether the settings file can be used as it is now, and who may read the secrets in it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from appliance.config import ConfigError, read_settings
from appliance.doctor.check import Check, Patient, Repair, Seen, in_thread, info, ok, problem, warning
from appliance.settings_views import secret_settings

_OTHERS: Final = stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def look(patient: Patient) -> list[Seen]:
    file = patient.loaded.file
    looked_at = f"settings file {file}"
    if patient.broken:
        return [problem(patient.broken, f"Correct it; {_IN_FORCE} See: amda config show", looked_at)]
    try:
        # As the daemon does: a file that was there must not vanish into defaults.
        loaded = read_settings(file if patient.loaded.found else None, patient.environ)
    except ConfigError as error:
        return [problem(str(error), f"Correct it; {_IN_FORCE}", looked_at)]
    if not loaded.found:
        return [info("there is none: every setting has its default", "", looked_at)]
    seen = _modes(file, secret_settings(loaded), looked_at)
    variables = len(loaded.from_environment)
    told = f"it can be used, and sets {len(loaded.from_file)} settings"
    if variables:
        told = f"{told}; {variables} come from the environment"
    return [*seen, ok(told, looked_at)]


_IN_FORCE: Final = "a daemon that runs keeps the settings from before."


def _modes(file: Path, secrets: list[str], looked_at: str) -> list[Seen]:
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & _WRITABLE:
        repair = _without(file, mode, _WRITABLE)
        return [problem(f"others than its owner may change it (mode {mode:04o})", repair.what, looked_at, repair)]
    if secrets and mode & _OTHERS:
        repair = _without(file, mode, _OTHERS)
        found = f"every user may read the secrets in it ({', '.join(secrets)}; mode {mode:04o})"
        return [warning(found, f"{repair.what}; then change the secrets", looked_at, repair)]
    return []


def _without(file: Path, mode: int, bits: int) -> Repair:
    wanted = mode & ~bits
    return Repair(f"chmod {wanted:04o} {file}", lambda: file.chmod(wanted))


CHECK: Final = Check("settings", "settings file, and who may read it", in_thread(look), needs_settings=False)
