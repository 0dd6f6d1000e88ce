"""A whole copy of a SQLite database that others go on writing to, proved readable before anybody relies on it.

SQLite's own backup API reads one state of the database, whatever is in its write-ahead log and whoever writes
meanwhile (sqlite.org/backup.html): a copy of the files alone would be a half-written store one day.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

BUSY_S: Final = 10.0
"""How long a writer may hold the database while nothing can be read: its transactions take milliseconds."""
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class CopyError(OSError):
    """The copy is not whole; one line."""


def copy_database(source: Path, target: Path) -> int:
    """Copy `source` to the new file `target` (mode 0600), read all of it back; returns its schema version.

    The copy is one file without a log beside it, synchronised to the disk. Raises FileNotFoundError, FileExistsError
    and other OSErrors, `CopyError` among them, and sqlite3.Error.
    """
    if not source.is_file() or source.is_symlink():
        raise FileNotFoundError(f"{source}: there is no such database")
    os.close(os.open(target, _CREATE, 0o600))
    with (
        contextlib.closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S)
        ) as reader,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        reader.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    version = check_database(target)
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return version


def check_database(file: Path) -> int:
    """Read every page of a database that nobody writes to; returns its schema version. Raises CopyError."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as database:
            verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
            version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise CopyError(f"the copy {file} is not whole ({error}); check the disk") from error
    if verdict != "ok":
        raise CopyError(f"the copy {file} is not whole ({verdict}); check the disk")
    return int(version)
