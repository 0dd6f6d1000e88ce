"""What the staging network remembers over its own death: one SQLite file, written ahead of every frame.

Rows are changed in one open transaction; `flush` commits it and is called before anything leaves for a client, so that
a network killed at any moment never says something it has forgotten afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, key))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS queue (number INTEGER PRIMARY KEY AUTOINCREMENT, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, account TEXT NOT NULL, device INTEGER,
    message_id TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS journal_by_account ON journal (account, kind);
CREATE INDEX IF NOT EXISTS journal_by_message ON journal (message_id);
"""


class Store:
    """Settings, objects (accounts, endpoints, messages, media by key), queues and the journal.

    `open` must be called first; every method may raise sqlite3.Error, which ends the network.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        # OFF: what was committed survives the death of this process; after a power cut a rehearsal starts anew anyway.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(_SCHEMA)
        self._path.chmod(0o600)
        self._connection = connection

    def close(self) -> None:
        if self._connection is not None:
            self.flush()
            self._connection.close()
            self._connection = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the store is not open")
        return self._connection

    def _write(self, statement: str, values: Sequence[object]) -> sqlite3.Cursor:
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        return self._db.execute(statement, values)

    def flush(self) -> None:
        """Commit what was written since the last flush."""
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    # ---- settings and objects

    def setting(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM setting WHERE name=?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_setting(self, name: str, value: bytes) -> None:
        self._write("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def put(self, kind: str, key: str, value: bytes) -> None:
        self._write("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", (kind, key, value))

    def get(self, kind: str, key: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM object WHERE kind=? AND key=?", (kind, key)).fetchone()
        return None if row is None else bytes(row[0])

    def delete(self, kind: str, key: str) -> None:
        self._write("DELETE FROM object WHERE kind=? AND key=?", (kind, key))

    def all(self, kind: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Objects of a kind whose key begins with `prefix` (keys are ASCII)."""
        rows = self._db.execute(
            "SELECT key, value FROM object WHERE kind=? AND key>=? AND key<? ORDER BY key",
            (kind, prefix, prefix + "\x7f"),
        )
        for key, value in rows.fetchall():
            yield str(key), bytes(value)

    # ---- offline queues

    def enqueue(self, value: bytes) -> int:
        """Add to the queues; the number by which it is changed and removed."""
        return int(self._write("INSERT INTO queue (value) VALUES (?)", (value,)).lastrowid or 0)

    def requeue(self, number: int, value: bytes) -> None:
        self._write("UPDATE queue SET value=? WHERE number=?", (value, number))

    def dequeue(self, number: int) -> None:
        self._write("DELETE FROM queue WHERE number=?", (number,))

    def queued(self) -> list[tuple[int, bytes]]:
        """Number and value of everything that waits, in the order of arrival."""
        rows = self._db.execute("SELECT number, value FROM queue ORDER BY number").fetchall()
        return [(int(number), bytes(value)) for number, value in rows]

    # ---- journal

    def append(self, at: float, kind: str, account: str, device: int | None, message_id: str, data: str) -> int:
        cursor = self._write(
            "INSERT INTO journal (at, kind, account, device, message_id, data) VALUES (?, ?, ?, ?, ?, ?)",
            (at, kind, account, device, message_id, data),
        )
        return int(cursor.lastrowid or 0)

    def last_seq(self) -> int:
        row = self._db.execute("SELECT max(seq) FROM journal").fetchone()
        return int(row[0] or 0)

    def entries(
        self, where: str, values: Sequence[object], limit: int
    ) -> list[tuple[int, float, str, str, int | None, str, str]]:
        """Journal rows that satisfy the SQL condition `where`, oldest first."""
        statement = (
            f"SELECT seq, at, kind, account, device, message_id, data FROM journal WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608
        )
        return self._db.execute(statement, (*values, limit)).fetchall()

    def count(self, kind: str) -> int:
        row = self._db.execute("SELECT count(*) FROM journal WHERE kind=?", (kind,)).fetchone()
        return int(row[0])
