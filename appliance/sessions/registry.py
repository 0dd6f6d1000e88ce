"""Sessions in the database: rows, what their state machines remember, and which worker events were taken."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import aiosqlite
import msgspec

from appliance.database import Database
from appliance.interfaces import PromotionGuard
from appliance.model import SessionState
from appliance.model_capture import CaptureChange
from appliance.sessions.inputs import Effect
from appliance.sessions.memory import Memory

_OWN_COLUMNS: Final = ("wanted", "state", "since", "detail")
"""Fields of `Memory` that are columns, because others query by them; the rest is one JSON value."""


class SessionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What was set for one session alone."""

    proxy: str | None = None
    """http:// or socks5:// URL instead of the appliance's; empty text: none at all."""
    capture: CaptureChange = CaptureChange()
    """What of its messages is kept, where that is not as for all sessions."""


class SessionRow(msgspec.Struct, kw_only=True):
    """One session as stored. `store` is the folder that `store_url` names; None until linked for the first time."""

    id: str
    name: str
    node_id: str
    generation: int
    store: Path | None
    phone: str | None
    jid: str | None
    created_at: float
    settings: SessionSettings
    memory: Memory


class LedgerWriter(Protocol):
    """Where losses of connections are written down: within our transaction, so that no row is lost or doubled."""

    async def apply(
        self,
        connection: aiosqlite.Connection,
        session: str,
        generation: int,
        effects: Sequence[Effect],
        engine: str,
    ) -> None:
        """Write what the effects say about the ledger; pass over the others."""
        ...


class Registry:
    """Reads and writes; durable on return."""

    def __init__(self, database: Database, ledger: LedgerWriter, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock

    async def all(self) -> list[SessionRow]:
        """Every session, oldest first."""
        rows = await self._database.fetch_all("SELECT * FROM sessions ORDER BY created_at, id")
        return [_session_of(row) for row in rows]

    async def insert(self, session: str, name: str, node_id: str) -> SessionRow:
        """A new, never linked session. Raises sqlite3.IntegrityError if there is one with this id."""
        now = self._clock()
        memory = Memory(since=now)
        await self._database.execute(
            "INSERT INTO sessions (id, name, node_id, wanted, state, since, memory, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (session, name, node_id, memory.wanted, memory.state, now, _encode(memory), now),
        )
        return SessionRow(
            id=session,
            name=name,
            node_id=node_id,
            generation=0,
            store=None,
            phone=None,
            jid=None,
            created_at=now,
            settings=SessionSettings(),
            memory=memory,
        )

    async def save(
        self,
        row: SessionRow,
        effects: Sequence[Effect] = (),
        *,
        engine: str = "",
        seen: tuple[str, int] | None = None,
    ) -> None:
        """One step of the state machine: its memory, its ledger rows and the worker event (store name, number) that
        caused it, together or not at all."""
        memory = row.memory
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE sessions SET wanted = ?, state = ?, since = ?, detail = ?, memory = ? WHERE id = ?",
                (memory.wanted, memory.state, memory.since, memory.detail, _encode(memory), row.id),
            )
            await self._ledger.apply(connection, row.id, row.generation, effects, engine)
            if seen is not None:
                await _mark_seen(connection, row.id, *seen)

    async def promote(
        self, row: SessionRow, store: Path, *, phone: str | None, jid: str, lid: str, guard: PromotionGuard | None
    ) -> None:
        """Make a linked store the session's: the one row that decides which store is the right one. Nothing changes if
        `guard` raises."""
        async with self._database.transaction() as connection:
            if guard is not None:
                await guard(connection)
            await connection.execute(
                "UPDATE sessions SET generation = generation + 1, store_url = ?, phone = ?, jid = ?, lid = ? "
                "WHERE id = ?",
                (store.as_uri(), phone, jid, lid, row.id),
            )
        row.generation += 1
        row.store, row.phone, row.jid = store, phone, jid

    async def set_name(self, row: SessionRow, name: str) -> None:
        """For people; the id never changes."""
        await self._database.execute("UPDATE sessions SET name = ? WHERE id = ?", (name, row.id))
        row.name = name

    async def set_settings(self, row: SessionRow, settings: SessionSettings) -> None:
        """Replace what was set for this session alone."""
        await self._database.execute(
            "UPDATE sessions SET settings = ? WHERE id = ?", (msgspec.json.encode(settings).decode(), row.id)
        )
        row.settings = settings

    async def delete(self, session: str) -> None:
        """Forget the session and how far its workers' events were taken; ledger and media keep their rows."""
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM worker_seen WHERE session = ?", (session,))
            await connection.execute("DELETE FROM sessions WHERE id = ?", (session,))

    async def last_seen(self, session: str, store: str) -> int:
        """Number of the last event of that store that was taken; 0 if none was."""
        found = await self._database.fetch_one(
            "SELECT seq FROM worker_seen WHERE session = ? AND store = ?", (session, store)
        )
        return int(found["seq"]) if found else 0

    async def mark_seen(self, session: str, store: str, seq: int) -> None:
        """An event that needed nothing but its callbacks was taken."""
        async with self._database.transaction() as connection:
            await _mark_seen(connection, session, store, seq)

    async def forget_store(self, session: str, store: str) -> None:
        """The store is deleted: its numbers mean nothing any more."""
        await self._database.execute("DELETE FROM worker_seen WHERE session = ? AND store = ?", (session, store))


async def _mark_seen(connection: aiosqlite.Connection, session: str, store: str, seq: int) -> None:
    await connection.execute(
        "INSERT INTO worker_seen (session, store, seq) VALUES (?, ?, ?) "
        "ON CONFLICT (session, store) DO UPDATE SET seq = max(seq, excluded.seq)",
        (session, store, seq),
    )


def store_folder(url: str) -> Path:
    """The folder of a file: URL. Raises ValueError for a store that lies elsewhere."""
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc:
        raise ValueError(f"store {parts.scheme}: cannot be opened by this release; only file: stores can")
    return Path(unquote(parts.path))


def _encode(memory: Memory) -> str:
    values = msgspec.to_builtins(memory)
    for column in _OWN_COLUMNS:
        del values[column]
    return msgspec.json.encode(values).decode()


def _session_of(row: sqlite3.Row) -> SessionRow:
    memory = msgspec.json.decode(row["memory"], type=Memory)
    memory.wanted = bool(row["wanted"])
    memory.state = SessionState(row["state"])
    memory.since = row["since"]
    memory.detail = row["detail"]
    return SessionRow(
        id=row["id"],
        name=row["name"],
        node_id=row["node_id"],
        generation=row["generation"],
        store=None if row["store_url"] is None else store_folder(row["store_url"]),
        phone=row["phone"],
        jid=row["jid"],
        created_at=row["created_at"],
        settings=msgspec.json.decode(row["settings"], type=SessionSettings),
        memory=memory,
    )
