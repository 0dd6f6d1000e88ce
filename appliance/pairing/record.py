"""The lasting record of linking attempts; codes are not part of it."""

from __future__ import annotations

import sqlite3
from typing import Final

from appliance.database import Database
from appliance.model import PairingState, PairingView, PairMethod, SessionState, mask_phone
from appliance.pairing.attempt import Attempt

PAGE_LIMIT: Final = 200
"""Most attempts that one listing holds."""


class PairingRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, attempt: Attempt) -> None:
        """Write where an attempt stands; durable on return."""
        times, ending = attempt.times, attempt.ending
        await self._database.execute(
            "INSERT INTO pairings (id, session, method, state, phone, relink, created_at, updated_at, started_at,"
            " shown_at, accepted_at, ended_at, reason, remedy) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, phone = excluded.phone,"
            " updated_at = excluded.updated_at, started_at = excluded.started_at, shown_at = excluded.shown_at,"
            " accepted_at = excluded.accepted_at, ended_at = excluded.ended_at, reason = excluded.reason,"
            " remedy = excluded.remedy",
            (
                *(attempt.id, attempt.session, attempt.method, attempt.state, attempt.phone, int(attempt.relink)),
                *(times.created_at, attempt.updated_at, times.started_at, times.shown_at, times.accepted_at),
                *(times.ended_at, ending.reason if ending else None, ending.remedy if ending else None),
            ),
        )

    async def get(self, attempt_id: str) -> PairingView | None:
        row = await self._database.fetch_one("SELECT * FROM pairings WHERE id = ?", (attempt_id,))
        return None if row is None else _view(row)

    async def recent(self, session: str | None, limit: int) -> list[PairingView]:
        """Newest first."""
        rows = await self._database.fetch_all(
            "SELECT * FROM pairings WHERE ?1 IS NULL OR session = ?1 ORDER BY created_at DESC LIMIT ?2",
            (session, min(limit, PAGE_LIMIT)),
        )
        return [_view(row) for row in rows]

    async def open_attempts(self) -> list[tuple[str, str, str | None]]:
        """(id, session, phone) of attempts that have no end: those that a dead daemon has left."""
        rows = await self._database.fetch_all("SELECT id, session, phone FROM pairings WHERE ended_at IS NULL")
        return [(row["id"], row["session"], row["phone"]) for row in rows]

    async def session_of_number(self, number: str, except_for: str) -> str | None:
        """The session, other than the given one, that is linked to a number."""
        row = await self._database.fetch_one(
            "SELECT id FROM sessions WHERE ltrim(phone, '+') = ? AND id != ? AND generation > 0 AND state != ?",
            (number.lstrip("+"), except_for, SessionState.NEEDS_PAIRING),
        )
        return None if row is None else str(row["id"])

    async def end(self, attempt_id: str, state: PairingState, reason: str, remedy: str, now: float) -> None:
        await self._database.execute(
            "UPDATE pairings SET state = ?, reason = ?, remedy = ?, updated_at = ?, ended_at = ? WHERE id = ?",
            (state, reason, remedy, now, now, attempt_id),
        )


def _view(row: sqlite3.Row) -> PairingView:
    return PairingView(
        id=row["id"],
        session=row["session"],
        method=PairMethod(row["method"]),
        state=PairingState(row["state"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        phone=None if row["phone"] is None else mask_phone(row["phone"]),
        reason=row["reason"],
        remedy=row["remedy"],
    )
