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

from appliance.database_copy import CopyError, copy_database
from appliance.migrations import MIGRATIONS

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


async def back_up(database: Path, folder: Path, settings: bytes) -> Path:
    """Write `amda.db` and `settings.json` into a new folder below `folder`, and read them back; returns that folder.

    Raises OSError, `CopyError` among them, and sqlite3.Error.
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
    version = copy_database(database, copy)
    with contextlib.closing(sqlite3.connect(copy)) as check:
        check.execute("SELECT count(*), sum(size) FROM objects").fetchone()
    if version != len(MIGRATIONS):
        raise CopyError(f"the backup {copy} has schema {version}, not {len(MIGRATIONS)}; restart the daemon")
    return target
