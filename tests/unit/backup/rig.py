"""A state folder as workers and daemon leave it, without any of them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from appliance.backup.contents import Given, stage
from appliance.backup.manifest import Manifest, SettingsFile
from appliance.config import Settings, load_settings
from appliance.database import Database
from appliance.migrations import MIGRATIONS


class State:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: Settings = load_settings(None, {"AMDA_PATHS_STATE_DIR": str(folder / "state")})
        self.paths = self.settings.paths

    async def make(self, *sessions: str) -> None:
        """Linked sessions with a store each."""
        database = await Database.open(self.paths.database)
        await database.node_id()
        for session in sessions:
            store = self.make_store(session, "first")
            await database.execute(
                "INSERT INTO sessions (id, name, node_id, generation, store_url, state, since, created_at, memory)"
                " VALUES (?, ?, 'node', 1, ?, 'online', 0, 0, '{}')",
                (session, session, store.as_uri()),
            )
        await database.close()

    def make_store(self, session: str, store: str, items: int = 2) -> Path:
        folder = self.paths.sessions / session / store
        (folder / "spool" / "poison").mkdir(parents=True)
        for name in ("device.db", "capture.db"):
            with self.writing(folder / name) as database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("CREATE TABLE kept (number INTEGER)")
                database.execute("INSERT INTO kept VALUES (1)")
        for number in range(items):
            (folder / "spool" / f"item{number}.data").write_bytes(b"x" * 100)
            (folder / "spool" / f"item{number}.json").write_bytes(b"{}")
        (folder / "spool" / "half.data.part").write_bytes(b"x")
        (folder / "spool" / "poison" / "bad.json").write_bytes(b"{}")
        (folder / "worker.log").write_text("secret words of a log")
        for path in folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        return folder

    @staticmethod
    @contextlib.contextmanager
    def writing(path: Path) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            yield database

    def stage(self, settings: tuple[tuple[SettingsFile, bytes], ...] = ()) -> tuple[Path, Manifest]:
        target = self.folder / f"staged{len(list(self.folder.glob('staged*')))}"
        target.mkdir(mode=0o700)
        given = Given(settings=settings, settings_file="/etc/amda/amda.toml", redis=[])
        return target, stage(self.settings, target, run="run1", reason="test", given=given, step=lambda _what: None)


SCHEMA = len(MIGRATIONS)
