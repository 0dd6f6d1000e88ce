"""Counts what is on record: losses of connections and attempts to link, from the rows that came since the last look.

What was counted can not be taken back, so a loss is counted once its reason has settled, and only what was durable ever
is. A daemon that nobody asks spends nothing on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from appliance.database import Database
from appliance.metrics.instruments import Instruments
from appliance.model import PairingState

SETTLE_S: Final = 5.0
"""What a worker tells of a loss later than its first sign arrives within a second or two, and may name it better."""


class Records:
    """Call `await load()` once: what happened before it belongs to the daemon before this one. Then `await count()`."""

    def __init__(self, database: Database, instruments: Instruments, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._instruments = instruments
        self._clock = clock
        self._last_loss = 0
        self._open_losses: set[int] = set()
        self._last_pairing = 0
        self._open_pairings: set[int] = set()

    async def load(self) -> None:
        """Begin here: counted are rows that come from now on, and ends of those that are open now."""
        self._last_loss = await self._newest("SELECT max(id) FROM disconnections")
        self._last_pairing = await self._newest("SELECT max(rowid) FROM pairings")
        self._open_losses = await self._numbers("SELECT id FROM disconnections WHERE back_at IS NULL")
        self._open_pairings = await self._numbers("SELECT rowid FROM pairings WHERE ended_at IS NULL")

    async def count(self) -> None:
        """Bring the instruments up to date."""
        await self._new_losses()
        await self._recoveries()
        await self._pairings()

    async def _new_losses(self) -> None:
        now = self._clock()
        rows = await self._database.fetch_all(
            "SELECT id, session, reason, at FROM disconnections WHERE id > ? ORDER BY id", (self._last_loss,)
        )
        for row in rows:
            if 0 <= now - row["at"] < SETTLE_S:
                return
            self._last_loss = row["id"]
            self._open_losses.add(row["id"])
            self._instruments.disconnections.labels(reason=row["reason"]).inc()
            self._instruments.session_disconnections.labels(session=row["session"]).inc()

    async def _recoveries(self) -> None:
        rows = await self._database.fetch_all(
            "SELECT id, recovery_s FROM disconnections WHERE id IN (SELECT value FROM json_each(?))"
            " AND back_at IS NOT NULL",
            (_json(self._open_losses),),
        )
        for row in rows:
            self._open_losses.discard(row["id"])
            if row["recovery_s"] is not None:
                self._instruments.recovery.observe(row["recovery_s"])

    async def _pairings(self) -> None:
        began = await self._numbers("SELECT rowid FROM pairings WHERE rowid > ?", self._last_pairing)
        self._open_pairings |= began
        self._last_pairing = max(began, default=self._last_pairing)
        rows = await self._database.fetch_all(
            "SELECT rowid, method, state, created_at, shown_at, ended_at FROM pairings"
            " WHERE rowid IN (SELECT value FROM json_each(?)) AND ended_at IS NOT NULL",
            (_json(self._open_pairings),),
        )
        for row in rows:
            self._open_pairings.discard(row["rowid"])
            self._instruments.pairings.labels(method=row["method"], outcome=row["state"]).inc()
            if row["shown_at"] is not None:
                self._instruments.pairing_code.observe(max(0.0, row["shown_at"] - row["created_at"]))
            if row["state"] == PairingState.LINKED:
                self._instruments.pairing_link.observe(max(0.0, row["ended_at"] - row["created_at"]))

    async def _newest(self, sql: str) -> int:
        row = await self._database.fetch_one(sql)
        return 0 if row is None or row[0] is None else int(row[0])

    async def _numbers(self, sql: str, *parameters: int) -> set[int]:
        return {int(row[0]) for row in await self._database.fetch_all(sql, parameters)}


def _json(numbers: Iterable[int]) -> str:
    return msgspec.json.encode(list(numbers)).decode()
