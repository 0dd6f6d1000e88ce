"""Messages that are to be delivered: kept in the database until told or given up, tried again with growing pauses.

They are queued in the transaction that records that they were told, so a restart neither loses nor repeats one.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
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
from appliance.history.settings import AlertSettings
from appliance.masking import hide_target

PARALLEL: Final = 4
"""Webhooks on the way at the same time; a slow one must not delay all others."""
BATCH: Final = 50
MAX_EXPONENT: Final = 20
"""Beyond any cap; keeps the power finite."""
_log: Final = structlog.get_logger(__name__)


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message for one target. `session`: whose person it is for; empty: the operators."""

    id: str
    session: str
    target: str
    message: Message
    created_at: float
    attempts: int


class Outbox:
    """`await run()` delivers until cancelled. `settings` is a function because they may change while it runs."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        settings: Callable[[], AlertSettings],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._sender = sender
        self._settings = settings
        self._clock = clock
        self._more = asyncio.Event()

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

    def wake(self) -> None:
        """Something was queued."""
        self._more.set()

    async def waiting(self) -> int:
        """Messages that could not be delivered yet."""
        row = await self._database.fetch_one("SELECT count(*) FROM deliveries")
        return int(row[0]) if row else 0

    async def forget(self, session: str) -> None:
        """The session's person is not to be told any more."""
        await self._database.execute("DELETE FROM deliveries WHERE session = ? AND session <> ''", (session,))

    async def run(self) -> None:
        """Deliver what is due, and wait for what comes."""
        while True:
            self._more.clear()
            try:
                await self.deliver_due()
                pause = await self._pause()
            except* sqlite3.Error as group:
                _log.error("the messages to be delivered cannot be read or marked", error=str(group.exceptions[0]))
                pause = self._settings().delivery_base_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._more.wait()

    async def deliver_due(self) -> None:
        """One attempt for everything that is due now."""
        now = self._clock()
        # A clock that was set back must not hold a message for years: no pause is longer than the cap.
        rows = await self._database.fetch_all(
            "SELECT id, session, target, body, created_at, attempts FROM deliveries WHERE due_at <= ? OR due_at > ? "
            "ORDER BY due_at LIMIT ?",
            (now, now + 2 * self._settings().delivery_cap_s, BATCH),
        )
        gate = asyncio.Semaphore(PARALLEL)
        async with asyncio.TaskGroup() as tasks:
            for row in rows:
                delivery = Delivery(
                    id=row["id"],
                    session=row["session"],
                    target=row["target"],
                    message=msgspec.json.decode(row["body"], type=Message),
                    created_at=row["created_at"],
                    attempts=row["attempts"],
                )
                tasks.create_task(self._attempt(delivery, gate))

    async def _attempt(self, delivery: Delivery, gate: asyncio.Semaphore) -> None:
        settings = self._settings()
        log = _log.bind(
            to=hide_target(delivery.target), session=delivery.session or None, attempt=delivery.attempts + 1
        )
        try:
            async with gate:
                await self._sender.send(delivery.target, delivery.message, settings, person=bool(delivery.session))
        except DeliveryError as error:
            now = self._clock()
            if error.permanent or now - delivery.created_at >= settings.delivery_give_up_s:
                log.error("message given up", reason=str(error))
                await self._drop(delivery)
                return
            pause = min(settings.delivery_cap_s, settings.delivery_base_s * 2 ** min(delivery.attempts, MAX_EXPONENT))
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

    async def _pause(self) -> float | None:
        """Seconds until the next one is due; None if there is none."""
        row = await self._database.fetch_one("SELECT min(due_at) FROM deliveries")
        if row is None or row[0] is None:
            return None
        return float(min(max(0.0, row[0] - self._clock()), self._settings().delivery_cap_s))
