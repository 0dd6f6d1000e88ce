"""The last guard: an attempt that was overtaken cannot make its store a session's, whatever it still believes.

Each attempt that takes a slot has a fencing number that only grows. It is written down for its session and its number
before work begins, and compared within the very transaction that promotes a store. So a daemon that hung through the
expiry of its lock, and wakes up between its last proof and the promotion, changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import aiosqlite

from appliance.database import Database
from appliance.interfaces import PromotionGuard
from appliance.problems import conflict


class OvertakenError(Exception):
    """A newer attempt has begun for this session or number."""


class Fences:
    """The fencing numbers in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def highest(self) -> int:
        """The highest number that was ever used; new ones must be above it, even if Redis has lost its counter."""
        row = await self._database.fetch_one("SELECT max(fence) AS fence FROM pairing_fences")
        return 0 if row is None or row["fence"] is None else int(row["fence"])

    async def enter(self, session: str, phones: Sequence[str], fence: int) -> None:
        """Begin to work under `fence`. Raises OvertakenError if a newer attempt has begun already."""
        async with self._database.transaction() as connection:
            for name in _names(session, phones):
                cursor = await connection.execute(
                    "INSERT INTO pairing_fences (name, fence) VALUES (?, ?) ON CONFLICT (name) DO UPDATE"
                    " SET fence = excluded.fence WHERE excluded.fence >= fence",
                    (name, fence),
                )
                if cursor.rowcount == 0:
                    raise OvertakenError(name.partition(":")[0])

    def guard(self, session: str, phones: Sequence[str], fence: int) -> PromotionGuard:
        """For `LinkAttempt.promote`: raises a 409 `ProblemError` if a newer attempt has begun meanwhile."""

        async def check(connection: aiosqlite.Connection) -> None:
            for name in _names(session, phones):
                async with connection.execute("SELECT fence FROM pairing_fences WHERE name = ?", (name,)) as cursor:
                    row = await cursor.fetchone()
                if row is None or row["fence"] != fence:
                    raise conflict(
                        "A newer attempt to link this session or number has begun; this one was not kept.",
                        "Follow the newer one: amda pairing list",
                    )

        return check


def _names(session: str, phones: Sequence[str]) -> list[str]:
    return [f"session:{session}", *(f"phone:{phone}" for phone in phones)]
