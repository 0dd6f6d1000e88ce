"""What was begun and never ended: half-written files, folders of sessions that do not exist."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Repair, Seen, in_thread, info, ok, unseen
from appliance.doctor.database_file import HiddenError, rows
from appliance.doctor.held import unlink
from appliance.model import SESSION_ID_PATTERN

OLD_S: Final = 3600.0
"""The largest file is written within minutes."""
INCOMING: Final = ".incoming"
"""In a media folder: what is being written."""


def look(patient: Patient) -> list[Seen]:
    paths, storage = patient.settings.paths, patient.settings.storage
    try:
        known = {row["id"] for row in rows(paths.database, "SELECT id FROM sessions")}
        half = [*_old(storage.path.resolve() / INCOMING, "*"), *_old(paths.run_dir.resolve(), ".*.sock.*")]
        orphans = [path for path in _folders(paths.sessions) if path.name not in known]
    except HiddenError as error:
        return [unseen(str(error))]
    except PermissionError as error:
        return [unseen(f"{error.filename} belongs to the appliance alone")]
    except (FileNotFoundError, sqlite3.Error):  # never started, or another check's to say
        return [info("there is no database to compare with")]
    seen = [*_half(half), *_orphans(orphans)]
    return seen or [ok("nothing was left behind")]


def _half(files: list[Path]) -> Iterator[Seen]:
    if not files:
        return

    def remove() -> None:
        for file in files:
            unlink(file)

    what = f"rm {files[0]}" + (f", and {len(files) - 1} more" if len(files) > 1 else "")
    found = f"{len(files)} files were begun more than an hour ago and never ended, as {files[0]}"
    yield Seen(info("").severity, found, what, repair=Repair(what, remove))


def _orphans(folders: list[Path]) -> Iterator[Seen]:
    """What was captured in them is stored before they go: that is the daemon's to do."""
    if folders:
        found = f"{len(folders)} folders of sessions that do not exist, as {folders[0]}"
        yield info(found, "The daemon stores what lies in them and deletes them when it starts: systemctl restart amda")


def _folders(sessions: Path) -> list[Path]:
    if not sessions.is_dir():
        return []
    return [path for path in sorted(sessions.iterdir()) if SESSION_ID_PATTERN.fullmatch(path.name) and path.is_dir()]


def _old(folder: Path, pattern: str) -> Iterator[Path]:
    if folder.is_symlink():  # whoever put it there means another folder
        return
    for file in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - file.lstat().st_mtime > OLD_S:
                yield file


CHECK: Final = Check("leftovers", "files and folders left behind", in_thread(look))
