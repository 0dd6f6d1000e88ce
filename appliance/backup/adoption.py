"""Makes a saved database this machine's: another name, other folders, generations that are one higher.

What the daemon's database and a store say must fit each other although they were saved some moments apart: an event
that the database counts as taken and the saved store has not numbered yet will get that number once more.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.backup.errors import BackupError
from appliance.backup.manifest import DATABASE, SESSIONS, Manifest
from appliance.migrations import MIGRATIONS
from appliance.model import SessionState

LINEAGE: Final = "lineage"
TERM: Final = "lease_term"
SUPERSEDED: Final = "superseded_by"
RENEWED: Final = "lease_renewed_at"
"""Keys of the table `meta`; see `lease.py`."""


def check_release(manifest: Manifest) -> None:
    """Raises BackupError for a database that this release cannot read."""
    if manifest.schema > len(MIGRATIONS):
        raise BackupError(
            f"this backup was made by a newer release ({manifest.release})",
            "Install that release, and restore with it.",
        )


def lineage_of(database: Path) -> str:
    """The first machine that these sessions ran on."""
    with contextlib.closing(sqlite3.connect(database)) as saved:
        rows = dict(saved.execute("SELECT key, value FROM meta WHERE key IN (?, 'node_id')", (LINEAGE,)).fetchall())
    return str(rows.get(LINEAGE) or rows.get("node_id", ""))


def adopt(folder: Path, manifest: Manifest, *, state_dir: Path, node_id: str, term: int) -> None:
    """Change the database of a backup that was taken out into `folder`. Raises sqlite3.Error."""
    database = folder / DATABASE
    lineage = lineage_of(database)
    stores = {session.id: folder / SESSIONS / session.id / session.store for session in manifest.sessions}
    with contextlib.closing(sqlite3.connect(database)) as saved, saved:
        saved.execute("UPDATE sessions SET node_id = ?", (node_id,))
        _name_stores(saved, stores, state_dir)
        for session, store in stores.items():
            saved.execute(
                "UPDATE worker_seen SET seq = min(seq, ?) WHERE session = ? AND store = ?",
                (last_event(store / "capture.db"), session, store.name),
            )
        saved.execute(
            "UPDATE poison SET folder = ? || substr(folder, ?) WHERE substr(folder, 1, ?) = ?",
            (str(state_dir), len(manifest.state_dir) + 1, len(manifest.state_dir), manifest.state_dir),
        )
        for key, value in (("node_id", node_id), (LINEAGE, lineage), (TERM, str(term))):
            saved.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        saved.execute("DELETE FROM meta WHERE key IN (?, ?)", (SUPERSEDED, RENEWED))


def _name_stores(saved: sqlite3.Connection, stores: Mapping[str, Path], state_dir: Path) -> None:
    """Where each store lies from now on. A session without a saved store has to be linked again."""
    linked = saved.execute("SELECT id FROM sessions WHERE store_url IS NOT NULL").fetchall()
    for (session,) in linked:
        if session in stores:
            url = (state_dir / SESSIONS / session / stores[session].name).as_uri()
            saved.execute("UPDATE sessions SET store_url = ?, generation = generation + 1 WHERE id = ?", (url, session))
        else:
            saved.execute(
                "UPDATE sessions SET store_url = NULL, state = ?, memory = json_set(memory, '$.linked', json('false'))"
                " WHERE id = ?",
                (SessionState.NEEDS_PAIRING, session),
            )


def last_event(capture: Path) -> int:
    """The highest number that a store has given to an event, whatever was deleted since."""
    if not capture.exists():
        return 0
    with contextlib.closing(sqlite3.connect(capture)) as store:
        try:
            row = store.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        except sqlite3.OperationalError:  # not one event was ever written
            return 0
    return int(row[0]) if row else 0
