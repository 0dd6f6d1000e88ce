"""One session out of a backup, into an appliance that goes on working: the daemon is handed the store, and takes it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from appliance.backup.adoption import last_event
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.manifest import DATABASE, SESSIONS, Manifest, SavedSession
from appliance.backup.repository import Repository
from appliance.backup.restore import FOLDER, Wish, key_file_of
from appliance.backup.work import Backups, Progress, work_folder
from appliance.config import Settings
from appliance.lifecycle import make_private
from appliance.model import SessionView
from appliance.model_backup import RestoreSession

HandOver = Callable[[str, RestoreSession], Awaitable[SessionView]]
"""Asks the daemon to take the store; raises if it does not."""
_NAME_DIGITS: Final = 20


async def restore_session(
    settings: Settings,
    session: str,
    wish: Wish,
    repository: Repository | None,
    hand_over: HandOver,
    was_refused: Callable[[Exception], bool],
    progress: Progress,
) -> SessionView:
    """Give a session of this appliance the login that it had when the backup was made. Raises BackupError, and what
    `hand_over` raises: if that says that it was refused, everything is as it was. Otherwise the daemon may be about to
    take the store, or have it; one that is not used it clears away at its next start."""
    with work_folder(settings.paths.backups, FOLDER) as folder:
        async with Backups(settings, repository, key_file_of(wish, folder)) as backups:
            taken = folder / "taken"
            make_private(taken)
            manifest = await backups.take_out(await backups.find(wish.backup), taken, progress)
        saved = _find(manifest, session)
        source = taken / SESSIONS / session / saved.store
        store = settings.paths.sessions / session / f"restored-{uuid.uuid4().hex[:_NAME_DIGITS]}"
        if not store.parent.is_dir():
            raise BackupError(
                f"there is no session {session} here", f"Make it first: amda session add {session}",
                BackupTrouble.NOT_FOUND,
            )  # fmt: skip
        order = _order(taken / DATABASE, session, store, source)
        progress("handing it over", 0, 0)
        source.replace(store)
        try:
            return await hand_over(session, order)
        except Exception as error:
            if was_refused(error):
                shutil.rmtree(store, ignore_errors=True)
            raise


def _find(manifest: Manifest, session: str) -> SavedSession:
    for saved in manifest.sessions:
        if saved.id == session:
            return saved
    why = manifest.skipped.get(session, "it had no login then")
    raise BackupError(
        f"session {session} is not in the backup {manifest.id}: {why}", "Take another one: amda backup list",
        BackupTrouble.NOT_FOUND,
    )  # fmt: skip


def _order(database: Path, session: str, store: Path, source: Path) -> RestoreSession:
    with contextlib.closing(sqlite3.connect(database)) as saved:
        row = saved.execute("SELECT phone, jid, lid FROM sessions WHERE id = ?", (session,)).fetchone()
    phone, jid, lid = row
    seen = last_event(source / "capture.db")
    return RestoreSession(store=store.name, phone=phone, jid=jid or "", lid=lid or "", seen=seen)
