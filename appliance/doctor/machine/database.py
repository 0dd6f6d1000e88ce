"""Whether the daemon's database is whole, of this release, and not swollen."""

from __future__ import annotations

import sqlite3
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, problem, unseen, warning
from appliance.doctor.database_file import HiddenError, opened
from appliance.migrations import MIGRATIONS

LARGE_LOG: Final = 256 << 20
"""Of the write-ahead log: somebody has been reading for hours and keeps it from being taken over."""
CHECKED: Final = 512 << 20
"""A database larger than that is not read as a whole by the way."""


def look(patient: Patient) -> list[Seen]:
    path = patient.settings.paths.database
    looked_at = f"database {path}"
    try:
        with opened(path) as connection:
            size = path.stat().st_size
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            whole = size <= CHECKED
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0]) if whole else "ok"
    except HiddenError as error:
        return [unseen(str(error), looked_at)]
    except FileNotFoundError:
        return [info("there is none yet: the daemon was never started", "", looked_at)]
    except sqlite3.Error as error:
        return [problem(f"it cannot be read: {error}", _RESTORE, looked_at)]
    if verdict != "ok":
        return [problem(f"it is damaged: {verdict.splitlines()[0]}", _RESTORE, looked_at)]
    if version > len(MIGRATIONS):
        found = f"it was written by a newer release (schema {version}, this one knows {len(MIGRATIONS)})"
        return [problem(found, "Install that release again, or restore the backup made before the upgrade.", looked_at)]
    seen = []
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size > LARGE_LOG:
        found = f"its write-ahead log has {log.stat().st_size >> 20} MiB"
        seen.append(warning(found, "Some program reads it for hours: end that; then systemctl restart amda", str(log)))
    told = f"{size / 1e6:.1f} MB, schema {version}"
    return [*seen, ok(f"{told}, whole" if whole else f"{told}; too large to be read as a whole by the way", looked_at)]


_RESTORE: Final = "Stop the daemon and keep the file; restore a backup, and check the disk (dmesg)."

CHECK: Final = Check("database", "database of the daemon", in_thread(look), bound_s=60.0)
