"""The lasting record of linking attempts; codes are not part of it."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from appliance.database import Database
from appliance.model import PairingState, PairingView, PairMethod, SessionState, mask_phone
from appliance.model_api import PairingDay
from appliance.pairing.attempt import Attempt
from appliance.pairing.texts import Ending

PAGE_LIMIT: Final = 200
"""Most attempts that one listing holds."""
_SAMPLE: Final = 20
"""Attempts from which the time in a slot is estimated: the latest hour of a busy day."""
DAY_S: Final = 86_400.0


class PairingRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """Where fences lie as well."""
        return self._database

    async def save(self, attempt: Attempt) -> None:
        """Write where an attempt stands; durable on return."""
        times, ending = attempt.times, attempt.ending
        await self._database.execute(
            "INSERT INTO pairings (id, session, method, state, phone, relink, created_at, updated_at, started_at,"
            " shown_at, accepted_at, ended_at, reason, remedy, tries) VALUES"
            " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, phone = excluded.phone,"
            " updated_at = excluded.updated_at, started_at = excluded.started_at, shown_at = excluded.shown_at,"
            " accepted_at = excluded.accepted_at, ended_at = excluded.ended_at, reason = excluded.reason,"
            " remedy = excluded.remedy, tries = excluded.tries WHERE pairings.ended_at IS NULL",
            (
                *(attempt.id, attempt.session, attempt.method, attempt.state, attempt.phone, int(attempt.relink)),
                *(times.created_at, attempt.updated_at, times.started_at, times.shown_at, times.accepted_at),
                *(times.ended_at, ending.reason if ending else None, ending.remedy if ending else None),
                attempt.tries,
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

    async def open_attempts(self) -> list[PairingView]:
        """Attempts that have no end: those that a dead daemon has left, oldest first."""
        rows = await self._database.fetch_all("SELECT * FROM pairings WHERE ended_at IS NULL ORDER BY created_at")
        return [_view(row) for row in rows]

    async def session_of_number(self, number: str, except_for: str) -> str | None:
        """The session, other than the given one, that is linked to a number."""
        row = await self._database.fetch_one(
            "SELECT id FROM sessions WHERE ltrim(phone, '+') = ? AND id != ? AND generation > 0 AND state != ?",
            (number.lstrip("+"), except_for, SessionState.NEEDS_PAIRING),
        )
        return None if row is None else str(row["id"])

    async def phones_of(self, session: str, since: float) -> list[str]:
        """Numbers for which codes were asked by a session."""
        rows = await self._database.fetch_all(
            "SELECT DISTINCT phone FROM pairings WHERE session = ? AND created_at >= ? AND phone IS NOT NULL",
            (session, since),
        )
        return [str(row["phone"]) for row in rows]

    async def promoted(self, attempt_id: str) -> bool:
        """Whether a store of this attempt is its session's: it has succeeded, whatever else was written down."""
        row = await self._database.fetch_one(
            "SELECT store_url FROM sessions WHERE id = (SELECT session FROM pairings WHERE id = ?)", (attempt_id,)
        )
        store = "" if row is None or row["store_url"] is None else str(row["store_url"]).rpartition("/")[2]
        return store == attempt_id or store.startswith(f"{attempt_id}-")

    async def end(self, attempt_id: str, ending: Ending | None, now: float) -> bool:
        """Give an attempt that nobody leads any more its end (None: linked); False if it has one."""
        state, reason, remedy = (
            (PairingState.LINKED, None, None) if ending is None else (ending.state, ending.reason, ending.remedy)
        )
        return bool(
            await self._database.execute(
                "UPDATE pairings SET state = ?, reason = ?, remedy = ?, updated_at = max(?, updated_at + 0.001),"
                " ended_at = ? WHERE id = ? AND ended_at IS NULL",
                (state, reason, remedy, now, now, attempt_id),
            )
        )

    async def slot_times(self) -> list[float]:
        """How long the latest attempts have held their slots, in seconds."""
        rows = await self._database.fetch_all(
            "SELECT ended_at - started_at AS seconds FROM pairings"
            " WHERE ended_at IS NOT NULL AND started_at IS NOT NULL ORDER BY ended_at DESC LIMIT ?",
            (_SAMPLE,),
        )
        return [max(0.0, row["seconds"]) for row in rows]

    async def by_day(self, days: int, now: float) -> list[PairingDay]:
        """Success and time to link of the last days, by local calendar day of the end, newest first."""
        rows = await self._database.fetch_all(
            "SELECT date(ended_at, 'unixepoch', 'localtime') AS day, state, ended_at - created_at AS total,"
            " shown_at - created_at AS until_code FROM pairings WHERE ended_at >= ? ORDER BY ended_at DESC",
            (now - days * DAY_S,),
        )
        found: dict[str, list[sqlite3.Row]] = {}
        for row in rows:
            found.setdefault(row["day"], []).append(row)
        return [_day(day, members) for day, members in found.items()]


def _day(day: str, rows: list[sqlite3.Row]) -> PairingDay:
    states = [PairingState(row["state"]) for row in rows]
    linked = states.count(PairingState.LINKED)
    cancelled = states.count(PairingState.CANCELLED)
    counted = len(states) - cancelled
    return PairingDay(
        day=day,
        attempts=len(states),
        linked=linked,
        cancelled=cancelled,
        success_rate=linked / counted if counted else None,
        code_shown_s=_median([row["until_code"] for row in rows]),
        linked_s=_median([row["total"] for row in rows if row["state"] == PairingState.LINKED]),
    )


def _median(values: list[Any]) -> float | None:
    known = sorted(float(value) for value in values if value is not None)
    return round(known[len(known) // 2], 1) if known else None


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
        started_at=row["started_at"],
        shown_at=row["shown_at"],
        accepted_at=row["accepted_at"],
        ended_at=row["ended_at"],
        tries=row["tries"],
    )
