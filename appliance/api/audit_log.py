"""Who did what, from which door, when; and what was refused, in as few rows as an attacker cannot multiply."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from appliance.database import Database
from appliance.model_access import AuditEntry, AuditPage, AuditQuery

REFUSALS_TOGETHER: Final = 50
"""Rows at a time; what many addresses do at once is summed up: a million strangers must not fill the disk."""
_OTHERS: Final = "others"

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Deed:
    """One row, before it has a number."""

    who: str
    door: str
    address: str
    action: str
    target: str = ""
    session: str | None = None
    status: int = 0
    detail: str = ""


class AuditLog:
    """`run()` writes down what `refuse` has collected, until it is cancelled. `pause_s`: at most so often."""

    def __init__(self, database: Database, pause_s: float, clock: Callable[[], float] = time.time) -> None:
        self._pause_s = pause_s
        self._database = database
        self._clock = clock
        self._refused: dict[Deed, int] = {}
        self._some = asyncio.Event()

    async def record(self, deed: Deed, count: int = 1) -> None:
        """Durable on return. Where the disk is full, the log has it at least: what was done is done, and who made room
        must not be told that it failed."""
        try:
            await self._database.execute(
                "INSERT INTO audit (at, who, door, address, action, target, session, status, detail, count)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._clock(), *dataclasses.astuple(deed), count),
            )
        except sqlite3.OperationalError as error:
            _log.error("the audit cannot be written", error=str(error), who=deed.who, action=deed.action, count=count)

    def refuse(self, deed: Deed) -> None:
        """Something was refused at the door; written down soon, together with its like."""
        if deed not in self._refused and len(self._refused) >= REFUSALS_TOGETHER:
            deed = dataclasses.replace(deed, who="", address=_OTHERS, target="", detail="")
        self._refused[deed] = self._refused.get(deed, 0) + 1
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            await self.flush()
            await asyncio.sleep(self._pause_s)

    async def flush(self) -> None:
        """Write down the refusals that are collected."""
        self._some.clear()
        refused, self._refused = self._refused, {}
        for deed, count in refused.items():
            _log.warning("refused", what=deed.action, door=deed.door, address=deed.address, count=count)
            await self.record(deed, count)

    async def search(self, query: AuditQuery) -> AuditPage:
        """Newest first."""
        conditions, values = ["1"], list[Any]()
        for condition, value in (
            ("at >= ?", query.since),
            ("at < ?", query.until),
            ("session = ?", query.session),
            ("door = ?", query.door),
            ("address = ?", query.address),
            ("(status = 0 OR status >= 400) = ?", query.refused),
            ("substr(action, 1, length(?)) = ?", query.action),
            ("id < ?", query.before),
        ):
            if value is not None:
                conditions.append(condition)
                values += [value] * condition.count("?")
        if query.who is not None:
            conditions.append("(who = ? OR substr(who, instr(who, ':') + 1) = ?)")
            values += (query.who, query.who)
        rows = await self._database.fetch_all(
            f"SELECT * FROM audit WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, query.limit + 1),
        )
        items = [AuditEntry(**dict(row)) for row in rows[: query.limit]]
        return AuditPage(items=items, next=items[-1].id if len(rows) > query.limit else None)

    async def forget(self, before: float) -> None:
        """Delete what is older."""
        await self._database.execute("DELETE FROM audit WHERE at < ?", (before,))
