"""The daemon's SQLite database: one writer, one reader, migrations, and refusal of a schema from the future.

`synchronous=FULL`: what is committed here outlives a power cut. All writing goes through one connection and one lock,
so that a transaction of one task never contains statements of another; reading has a connection of its own.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import os
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from appliance.database_copy import copy_database
from appliance.database_tables import NotingConnection, Schema
from appliance.migrations import MIGRATIONS

SHARED_KEPT: Final = 64
"""Answers of `fetch_shared` that are kept: what a dozen clients ask for again and again."""
SHARED_ROWS: Final = 100
"""The longest of them: a page. All together they take some megabytes at the very most."""
BUSY_TIMEOUT_MS: Final = 10_000
"""Only a backup or an operator's sqlite3 shell can hold the file besides us; neither needs longer."""
COPIES_KEPT: Final = 3
"""Of databases before a change of their schema: as many as releases are kept."""
_OPTIONS: Final[dict[str, Any]] = {"isolation_level": None, "cached_statements": 64}
Parameters = Sequence[Any] | dict[str, Any]

_Question = tuple[Callable[[sqlite3.Row], Any], str, tuple[Any, ...]]
T = TypeVar("T")
_C = TypeVar("_C", bound=aiosqlite.Connection)


class DatabaseError(Exception):
    """The database cannot be used; `str()` is one line with the remedy."""


class CopyFailedError(Exception):
    """There is no way back, so nothing is changed; one line."""


class Database:
    """Open with `await Database.open(path)`; close with `await close()`."""

    def __init__(self, path: Path, writer: NotingConnection, reader: aiosqlite.Connection, schema: Schema) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._schema = schema
        self._lock = asyncio.Lock()
        self._shared: collections.OrderedDict[_Question, asyncio.Task[list[Any]]] = collections.OrderedDict()
        """Answers since the last write to a table that they depend on, also those that are being read."""

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str] = MIGRATIONS, *, copies: Path | None = None) -> Database:
        """Create or open the file (mode 0600) and bring its schema up to date. Before it changes an older one, it puts
        a copy into the folder `copies`, if one is named: the way back of an upgrade.

        Raises `DatabaseError` if the file is damaged, cannot be written, or was written by a newer release.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise DatabaseError(f"{path}: {error.strerror}; check owner, mode and free space of the folder") from error
        connections: list[aiosqlite.Connection] = []
        try:
            connections.append(writer := await _connect(NotingConnection.to(path, **_OPTIONS)))
            await _migrate(writer, path, migrations, copies)
            connections.append(reader := await _connect(aiosqlite.connect(path, **_OPTIONS)))
            await reader.execute("PRAGMA query_only=ON")
            schema = await Schema.of(reader)
        except (sqlite3.Error, CopyFailedError) as error:
            await _close_all(connections)
            raise DatabaseError(f"{path}: {error}; restore a backup or check the disk") from error
        except BaseException:
            await _close_all(connections)
            raise
        return cls(path, writer, reader, schema)

    async def close(self) -> None:
        """Wait for a transaction that is under way, then close. Safe to call twice."""
        async with self._lock:
            await _close_all([self._reader, self._writer])

    async def fetch_all(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """Rows of committed data."""
        return list(await self._reader.execute_fetchall(sql, parameters))

    async def fetch_one(self, sql: str, parameters: Parameters = ()) -> sqlite3.Row | None:
        """The first row of committed data, if there is one; meant for statements that find few.

        All rows are taken in one step: a statement that was left half-way between two would hold the connection, and so
        every other reader, at the state of the database that it began with.
        """
        return next(iter(await self._reader.execute_fetchall(sql, parameters)), None)

    async def fetch_shared(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """As `fetch_all`; until a table that it names is written to, the same question is answered from memory.

        For what many clients ask for again and again: all of them together cost one read after each such write. The
        rows belong to all of them.
        """
        return await self.fetch_shared_as(_as_it_is, sql, parameters)

    async def fetch_shared_as(
        self, make: Callable[[sqlite3.Row], T], sql: str, parameters: Sequence[Any] = ()
    ) -> list[T]:
        """As `fetch_shared`, and what is made of each row is shared, too: `make` is a function of the row alone."""
        key = (make, sql, tuple(parameters))
        if (reading := self._shared.get(key)) is None:
            reading = self._shared[key] = asyncio.create_task(self._read(*key))
            reading.add_done_callback(functools.partial(self._keep_or_not, key))
            if len(self._shared) > SHARED_KEPT:
                self._shared.popitem(last=False)
        return reading.result() if reading.done() else await asyncio.shield(reading)

    async def _read(self, make: Callable[[sqlite3.Row], T], sql: str, parameters: Parameters) -> list[T]:
        return [make(row) for row in await self.fetch_all(sql, parameters)]

    def _keep_or_not(self, key: _Question, reading: asyncio.Task[list[Any]]) -> None:
        """What failed is tried again by the next one, and what is large is for those who have asked already."""
        failed = reading.cancelled() or reading.exception() is not None
        if (failed or len(reading.result()) > SHARED_ROWS) and self._shared.get(key) is reading:
            del self._shared[key]

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """One writing statement, durable on return; returns the number of rows that it changed."""
        async with self._writing(), await self._complete(sql, parameters) as cursor:
            changed: int = cursor.rowcount
            return changed

    async def insert(self, sql: str, parameters: Parameters = ()) -> int:
        """One INSERT, durable on return; returns the row's id."""
        async with self._writing(), await self._complete(sql, parameters) as cursor:
            assert cursor.lastrowid is not None, "not an INSERT"  # noqa: S101 - a programming error, not an input
            number: int = cursor.lastrowid
            return number

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """Statements inside are committed together, or not at all if the block raises or is cancelled."""
        async with self._writing():
            try:
                await self._complete("BEGIN IMMEDIATE")
                yield self._writer
                await self._complete("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk has rolled it back already
                    await self._complete("ROLLBACK")
                raise

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """One writer at a time; what was read before it has ended is not what is there after it."""
        async with self._lock:
            self._writer.noted.clear()
            try:
                yield
            finally:
                self._forget_shared()

    def _forget_shared(self) -> None:
        """Answers that depend on a table in which something may have been changed just now."""
        changed = frozenset[str]().union(*map(self._schema.changed, self._writer.noted))
        for key in [key for key in self._shared if not changed.isdisjoint(self._schema.read(key[1]))]:
            del self._shared[key]

    async def _complete(self, sql: str, parameters: Parameters = ()) -> aiosqlite.Cursor:
        """A statement that is not left half-way: whoever is cancelled here waits until the database's thread is done,
        because what comes next depends on whether a transaction is open and on what was written."""
        statement = asyncio.ensure_future(self._writer.execute(sql, parameters))
        try:
            return await asyncio.shield(statement)
        except asyncio.CancelledError:
            await asyncio.wait([statement])
            raise

    async def node_id(self) -> str:
        """Name of this appliance among others; made at the first start, never changed."""
        await self.execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('node_id', ?)", (uuid.uuid4().hex[:12],))
        row = await self.fetch_one("SELECT value FROM meta WHERE key = 'node_id'")
        return str(row["value"]) if row else ""


def _as_it_is(row: sqlite3.Row) -> sqlite3.Row:
    return row


async def _connect(connection: _C) -> _C:
    await connection
    connection.row_factory = sqlite3.Row
    try:
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            await connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        await connection.close()  # its thread would keep the process from ever exiting
        raise
    return connection


def copy_name(schema: int) -> str:
    """Of a copy made now of a database with that schema."""
    return f"schema-{schema}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:4]}.db"


def copies_of(folder: Path, schema: int | None = None) -> list[Path]:
    """The copies of that schema (None: of any), oldest first."""
    found = folder.glob("schema-*-*.db" if schema is None else f"schema-{schema}-*.db")
    return sorted(found, key=lambda copy: copy.stat().st_mtime_ns)


async def _migrate(
    connection: aiosqlite.Connection, path: Path, migrations: Sequence[str], copies: Path | None
) -> None:
    async with connection.execute("PRAGMA user_version") as cursor:
        row = await cursor.fetchone()
    version = int(row[0]) if row else 0
    if version > len(migrations):
        raise DatabaseError(
            f"{path}: written by a newer release (schema {version}, this one knows {len(migrations)}); "
            "install that release again, or restore the backup made before the upgrade"
        )
    if copies is not None and 0 < version < len(migrations):
        await asyncio.to_thread(_keep_copy, path, copies, version)
    for number, script in enumerate(migrations[version:], start=version + 1):
        try:
            await connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                await connection.execute("ROLLBACK")
            raise


def _keep_copy(path: Path, folder: Path, schema: int) -> None:
    """No migration without a way back. Raises CopyFailedError, sqlite3.Error."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_database(path, folder / copy_name(schema))
        for old in copies_of(folder)[:-COPIES_KEPT]:
            old.unlink()
    except OSError as error:
        raise CopyFailedError(f"no copy can be made in {folder} before its schema is changed: {error}") from error


async def _close_all(connections: Iterable[aiosqlite.Connection]) -> None:
    for connection in connections:
        await connection.close()
