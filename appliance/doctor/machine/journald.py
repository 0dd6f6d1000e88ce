"""Whether the journal has a limit: without one it takes a tenth of the disk, which on a small one is media's."""

from __future__ import annotations

import configparser
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, warning
from appliance.doctor.machine.units import FOLDER

RUNS: Final = "/run/systemd/journal"
KEPT: Final = ("/var/log/journal", "/run/log/journal")
SETTINGS: Final = "etc/systemd/journald.conf"
MUCH: Final = 1 << 30


def look(patient: Patient) -> list[Seen]:
    if not patient.at(RUNS).is_dir():
        return [info("systemd's journal does not run here: logs are in logs/ of the state folder")]
    size = sum(_size(patient.at(folder)) for folder in KEPT)
    told = f"{size >> 20} MiB are seen to be used"
    if limit := limit_of(patient):
        return [ok(f"it is limited to {limit}; {told}")]
    installed = patient.at(f"{FOLDER}/amda.service").exists()
    found = f"it has no limit of its own and may take a tenth of the disk; {told}"
    if installed or size > MUCH:
        return [warning(found, "Run install.sh again: it sets SystemMaxUse=300M; now: journalctl --vacuum-size=300M")]
    return [info(found)]


def limit_of(patient: Patient) -> str:
    """`SystemMaxUse`; the last file that sets it wins. Empty: nobody does."""
    limit = ""
    for file in _files(patient):
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
            parser.read_string(file.read_text("utf-8"))
            limit = parser.get("Journal", "SystemMaxUse", fallback=limit)
    return limit


def _files(patient: Patient) -> Iterator[Path]:
    """journald.conf(5): the main file, then those in the folders, by name whatever their folder."""
    yield patient.root / SETTINGS
    folders = [patient.root / base / "systemd/journald.conf.d" for base in ("usr/lib", "run", "etc")]
    named = {file.name: file for folder in folders for file in folder.glob("*.conf")}
    for name in sorted(named):
        yield named[name]


def _size(folder: Path) -> int:
    size = 0
    for base, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += (Path(base) / name).stat().st_blocks * 512
    return size


CHECK: Final = Check("journald", "journal, its limit and size", in_thread(look), needs_settings=False)
