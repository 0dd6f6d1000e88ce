"""A copy of the index and of the settings, proved readable, before something is done that cannot be undone at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Final

from appliance.migrations import MIGRATIONS

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class BackupError(OSError):
    """The copy is not whole; one line."""


async def back_up(database: Path, folder: Path, settings: bytes) -> Path:
    """Write `amda.db` and `settings.json` into a new folder below `folder`, and read them back; returns that folder.

    Raises OSError, `BackupError` among them, and sqlite3.Error.
    """
    return await asyncio.to_thread(_back_up, database, folder, settings)


def _back_up(database: Path, folder: Path, settings: bytes) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = Path(tempfile.mkdtemp(prefix=time.strftime("storage-%Y%m%dT%H%M%SZ-", time.gmtime()), dir=folder))
    with os.fdopen(os.open(target / "settings.json", _CREATE, 0o600), "wb") as file:
        file.write(settings)
        file.flush()
        os.fsync(file.fileno())
    copy = target / "amda.db"
    os.close(os.open(copy, _CREATE, 0o600))
    with contextlib.closing(sqlite3.connect(database)) as source, contextlib.closing(sqlite3.connect(copy)) as sink:
        source.backup(sink)
    with contextlib.closing(sqlite3.connect(copy)) as check:
        verdict = check.execute("PRAGMA integrity_check").fetchone()[0]
        version = check.execute("PRAGMA user_version").fetchone()[0]
        check.execute("SELECT count(*), sum(size) FROM objects").fetchone()
    if verdict != "ok" or version != len(MIGRATIONS):
        raise BackupError(f"the backup {copy} is not whole ({verdict}, schema {version}); check the disk")
    return target
