"""The ledger of disconnections: one row for each loss of a connection that had logged in, and when it was back.

It takes the state machine's effects as they are. Durations are measured by the steady clock wherever this daemon saw
both ends, so that a clock that is set in between does not falsify them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiosqlite
import msgspec

from appliance.database import Database
from appliance.masking import mask_numbers
from appliance.model_history import Disconnection, HistoryPage
from appliance.sessions.inputs import CloseRows, Effect, OpenRow, RefineRow
from appliance.sessions.reasons import REASONS, DisconnectReason

PAGE_MAX: Final = 1000
"""Rows of one page at most: half a megabyte of JSON."""
RAW_MAX: Final = 500
"""Characters of a raw node that are kept; WhatsApp's are below 200."""
_COLUMNS: Final = (
    "id, session, at, reason, signal, code, raw, uptime_s, connected_at, decision, charged, back_at, recovery_s, "
    "engine, whatsapp"
)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows; every condition must hold. `before`: only rows with a smaller id; `until` is exclusive."""

    session: str | None = None
    reason: DisconnectReason | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The condition in SQL, and its parameters."""
        conditions = (
            ("session = ?", self.session),
            ("reason = ?", self.reason),
            ("at >= ?", self.since),
            ("at < ?", self.until),
            ("id < ?", self.before),
        )
        given = [(text, value) for text, value in conditions if value is not None]
        return " AND ".join(text for text, _ in given) or "1", [value for _, value in given]


class Ledger:
    """Reads and writes the rows. Writing is durable on return. `whatsapp`: the version of it that the engine says it
    is."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        *,
        whatsapp: str = "",
    ) -> None:
        self._database = database
        self._whatsapp = whatsapp
        self._clock = clock
        self._steady = steady
        self._opened: dict[int, float] = {}

    async def write(self, session: str, generation: int, effects: Sequence[Effect], engine: str) -> None:
        """As `apply`, in a transaction of its own; durable on return."""
        async with self._database.transaction() as connection:
            await self.apply(connection, session, generation, effects, engine)

    async def apply(
        self,
        connection: aiosqlite.Connection,
        session: str,
        generation: int,
        effects: Sequence[Effect],
        engine: str,
    ) -> None:
        """Write down what the state machine's effects say, in order, within the caller's transaction; effects that are
        not about the ledger are passed over. Times may lie in the past: what a worker recorded while the daemon was
        away."""
        for effect in effects:
            match effect:
                case OpenRow():
                    await self._open(connection, session, generation, effect, engine)
                case RefineRow():
                    await connection.execute(
                        "UPDATE disconnections SET reason = ?, signal = ?, code = ?, raw = ? "
                        "WHERE id = (SELECT max(id) FROM disconnections WHERE session = ?)",
                        (effect.reason, effect.signal, effect.code, _clean(effect.raw), session),
                    )
                case CloseRows():
                    await self._close(connection, session, effect)

    async def _open(
        self, connection: aiosqlite.Connection, session: str, generation: int, row: OpenRow, engine: str
    ) -> None:
        values = (
            session,
            generation,
            row.at,
            row.reason,
            row.signal,
            row.code,
            _clean(row.raw),
            row.connected_at,
            max(0.0, row.uptime_s),
            row.action,
            row.charged,
            engine,
            self._whatsapp,
        )
        async with connection.execute(
            "INSERT INTO disconnections (session, generation, at, reason, signal, code, raw, connected_at, uptime_s, "
            "decision, charged, engine, whatsapp) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        ) as cursor:
            number = cursor.lastrowid or 0
        self._opened[number] = self._steady() - max(0.0, self._clock() - row.at)

    async def _close(self, connection: aiosqlite.Connection, session: str, what: CloseRows) -> None:
        """The session is back: its open rows get the time, and how long it took."""
        rows = await connection.execute_fetchall(
            "SELECT id, at FROM disconnections WHERE session = ? AND back_at IS NULL", (session,)
        )
        back = self._steady() - max(0.0, self._clock() - what.at)
        for row in rows:
            opened = self._opened.pop(row["id"], None)
            took = what.at - row["at"] if opened is None else back - opened
            await connection.execute(
                "UPDATE disconnections SET back_at = ?, recovery_s = ? WHERE id = ?",
                (what.at, max(0.0, took), row["id"]),
            )

    async def page(self, query: Query, limit: int) -> HistoryPage:
        """Newest first, at most `limit` (and never more than `PAGE_MAX`)."""
        limit = max(1, min(limit, PAGE_MAX))
        where, parameters = query.where()
        found = await self._database.fetch_shared_as(
            _view,
            f"SELECT {_COLUMNS} FROM disconnections WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - constants
            (*parameters, limit + 1),
        )
        items = found[:limit]
        return HistoryPage(items=items, next=items[-1].id if len(found) > limit else None)

    async def rows(self, query: Query) -> list[Disconnection]:
        """All that match, oldest first: for statistics."""
        where, parameters = query.where()
        sql = f"SELECT {_COLUMNS} FROM disconnections WHERE {where} ORDER BY at, id"  # noqa: S608 - constants
        return [_view(row) for row in await self._database.fetch_all(sql, parameters)]

    async def losses(self, since: float) -> list[tuple[str, DisconnectReason, float]]:
        """Session, reason and time of every row since then: for the alert rules, which ask often."""
        rows = await self._database.fetch_all("SELECT session, reason, at FROM disconnections WHERE at >= ?", (since,))
        return [(row["session"], DisconnectReason(row["reason"]), row["at"]) for row in rows if row["reason"] in _KNOWN]

    async def prune(self, older_than: float) -> int:
        """Delete rows from before then; returns how many."""
        return await self._database.execute("DELETE FROM disconnections WHERE at < ?", (older_than,))


_KNOWN: Final = frozenset(DisconnectReason)


def _clean(raw: str) -> str:
    return mask_numbers(raw)[:RAW_MAX]


def _view(row: Any) -> Disconnection:
    uptime = row["uptime_s"]
    if uptime is None and row["connected_at"] is not None:  # written before durations were measured
        uptime = max(0.0, row["at"] - row["connected_at"])
    recovery = row["recovery_s"]
    if recovery is None and row["back_at"] is not None:
        recovery = max(0.0, row["back_at"] - row["at"])
    reason = row["reason"]
    return Disconnection(
        id=row["id"],
        session=row["session"],
        at=row["at"],
        reason=reason,
        text=REASONS[DisconnectReason(reason)].text if reason in _KNOWN else "",
        signal=row["signal"],
        code=row["code"],
        raw=row["raw"],
        uptime_s=uptime,
        connected_at=row["connected_at"],
        decision=row["decision"],
        charged=bool(row["charged"]),
        back_at=row["back_at"],
        recovery_s=recovery,
        engine=row["engine"],
        whatsapp=row["whatsapp"],
    )
