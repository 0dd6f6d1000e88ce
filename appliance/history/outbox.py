"""Messages that are to be delivered: kept in the database until told or given up, tried again with growing pauses.

They are queued in the transaction that records that they were told, so a restart neither loses nor repeats one.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import aiosqlite
import msgspec
import structlog

from appliance.database import Database
from appliance.history.alert_texts import Message
from appliance.history.delivery import DeliveryError, Sender
from appliance.history.due_work import DueWork, backoff
from appliance.history.settings import AlertSettings
from appliance.masking import hide_target

PARALLEL: Final = 4
"""Webhooks on the way at the same time; a slow one must not delay all others."""
BATCH: Final = 50
_log: Final = structlog.get_logger(__name__)


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message for one target. `session`: whose person it is for; empty: the operators."""

    id: str
    session: str
    target: str
    message: Message
    created_at: float
    attempts: int


class Outbox(DueWork[Delivery]):
    """`await run()` delivers until cancelled. `settings` is a function because they may change while it runs."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        settings: Callable[[], AlertSettings],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("the messages to be delivered", PARALLEL, clock)
        self._database = database
        self._sender = sender
        self._settings = settings

    async def put(
        self, connection: aiosqlite.Connection, message: Message, targets: Sequence[str], session: str = ""
    ) -> None:
        """Queue a message within the caller's transaction; call `wake` when that is committed."""
        now = self._clock()
        rows = [
            (uuid.uuid4().hex[:12], session, target, msgspec.json.encode(message).decode(), now, now)
            for target in targets
        ]
        await connection.executemany(
            "INSERT INTO deliveries (id, session, target, body, created_at, due_at) VALUES (?, ?, ?, ?, ?, ?)", rows
        )

    async def waiting(self) -> int:
        """Messages that could not be delivered yet."""
        row = await self._database.fetch_one("SELECT count(*) FROM deliveries")
        return int(row[0]) if row else 0

    async def forget(self, session: str) -> None:
        """The session's person is not to be told any more."""
        await self._database.execute("DELETE FROM deliveries WHERE session = ? AND session <> ''", (session,))

    async def _due(self, now: float) -> list[Delivery]:
        # A clock that was set back must not hold a message for years: no pause is longer than the cap.
        rows = await self._database.fetch_all(
            "SELECT id, session, target, body, created_at, attempts FROM deliveries WHERE due_at <= ? OR due_at > ? "
            "ORDER BY due_at LIMIT ?",
            (now, now + 2 * self._settings().delivery_cap_s, BATCH),
        )
        return [
            Delivery(
                id=row["id"],
                session=row["session"],
                target=row["target"],
                message=msgspec.json.decode(row["body"], type=Message),
                created_at=row["created_at"],
                attempts=row["attempts"],
            )
            for row in rows
        ]

    async def _attempt(self, delivery: Delivery) -> None:
        settings = self._settings()
        log = _log.bind(
            to=hide_target(delivery.target), session=delivery.session or None, attempt=delivery.attempts + 1
        )
        try:
            await self._sender.send(delivery.target, delivery.message, settings, person=bool(delivery.session))
        except DeliveryError as error:
            now = self._clock()
            if error.permanent or now - delivery.created_at >= settings.delivery_give_up_s:
                log.error("message given up", reason=str(error))
                await self._drop(delivery)
                return
            pause = backoff(delivery.attempts, *self._pauses())
            log.warning("message not delivered", reason=str(error), again_in_s=pause)
            await self._database.execute(
                "UPDATE deliveries SET attempts = attempts + 1, due_at = ?, error = ? WHERE id = ?",
                (now + pause, str(error), delivery.id),
            )
        else:
            log.info("message delivered")
            await self._drop(delivery)

    async def _drop(self, delivery: Delivery) -> None:
        await self._database.execute("DELETE FROM deliveries WHERE id = ?", (delivery.id,))

    async def _next_due(self) -> float | None:
        row = await self._database.fetch_one("SELECT min(due_at) FROM deliveries")
        return None if row is None or row[0] is None else float(row[0])

    def _pauses(self) -> tuple[float, float]:
        settings = self._settings()
        return settings.delivery_base_s, settings.delivery_cap_s
