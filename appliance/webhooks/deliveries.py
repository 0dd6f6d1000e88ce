"""Deliveries in the database: queued with their event, tried until they are taken or given up, kept for a while to be
looked at and sent again."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import aiosqlite
import msgspec

from appliance.database import Database
from appliance.model import EventView
from appliance.model_webhooks import (
    AttemptView,
    DeliveryDetails,
    DeliveryPage,
    DeliveryQuery,
    DeliveryState,
    DeliveryView,
    WebhookMessage,
)
from appliance.problems import conflict, not_found
from appliance.webhooks.book import Webhook

KEPT_MAX: Final = 10_000
"""Of one webhook, in each state: some megabytes. What waits beyond that is given up, what has ended is deleted."""
ATTEMPTS_SHOWN: Final = 100
"""A day has some forty; more comes from sending again and again."""


_QUEUED: Final = "state = ?, queued_at = ?, due_at = ?, attempts = 0, ended_at = NULL"
_BEYOND: Final = (
    "webhook = ? AND state = ? AND number <="
    " (SELECT number FROM webhook_deliveries WHERE webhook = ? AND state = ? ORDER BY number DESC LIMIT 1 OFFSET ?)"
)
"""All but the newest of a webhook in one state."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery that is to be tried."""

    number: int
    id: str
    webhook: str
    type: str
    body: bytes
    queued_at: float
    attempts: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt. `status`: of the answer; None: there was none. `error`: empty: it was taken."""

    at: float
    took_s: float
    status: int | None
    error: str = ""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Of one webhook."""

    waiting: int = 0
    dead: int = 0
    delivered_at: float | None = None
    error: str = ""


class Deliveries:
    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def queue(self, connection: aiosqlite.Connection, event: EventView, hooks: Sequence[Webhook]) -> None:
        """Within the transaction that records the event."""
        now = self._clock()
        rows = []
        for hook in hooks:
            message = message_of(event, hook.id)
            body = msgspec.json.encode(message).decode()
            state = DeliveryState.WAITING
            rows.append((message.id, hook.id, event.seq, event.type, event.session, body, state, now, now, now))
        await connection.executemany(
            "INSERT INTO webhook_deliveries"
            " (id, webhook, seq, type, session, body, state, created_at, queued_at, due_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    async def due(self, webhook: str, now: float, cap_s: float, limit: int) -> list[Waiting]:
        """In the order in which they became due. A clock that was set back must not hold one for years: no pause is
        longer than the cap."""
        rows = await self._database.fetch_all(
            "SELECT number, id, type, body, queued_at, attempts FROM webhook_deliveries"
            " WHERE webhook = ? AND state = 'waiting' AND (due_at <= ? OR due_at > ?) ORDER BY due_at, number LIMIT ?",
            (webhook, now, now + 2 * cap_s, limit),
        )
        return [
            Waiting(
                number=row["number"],
                id=row["id"],
                webhook=webhook,
                type=row["type"],
                body=row["body"].encode(),
                queued_at=row["queued_at"],
                attempts=row["attempts"],
            )
            for row in rows
        ]

    async def next_due(self, webhook: str) -> float | None:
        row = await self._database.fetch_one(
            "SELECT min(due_at) FROM webhook_deliveries WHERE webhook = ? AND state = 'waiting'", (webhook,)
        )
        return None if row is None or row[0] is None else float(row[0])

    async def taken(self, waiting: Waiting, outcome: Outcome) -> None:
        await self._record(waiting, outcome, "state = ?, ended_at = ?", (DeliveryState.DELIVERED, outcome.at))

    async def again(self, waiting: Waiting, outcome: Outcome, due_at: float) -> None:
        await self._record(waiting, outcome, "due_at = ?", (due_at,))

    async def given_up(self, waiting: Waiting, outcome: Outcome) -> None:
        await self._record(waiting, outcome, "state = ?, ended_at = ?", (DeliveryState.DEAD, outcome.at))

    async def resend(self, webhook: str, delivery: str) -> DeliveryView:
        """Raises ProblemError: 404, 409 it is waiting anyway."""
        row = await self._row(webhook, delivery)
        if row["state"] == DeliveryState.WAITING:
            raise conflict(f"The delivery {delivery} is waiting to be sent.", "It is tried by itself.")
        await self._requeue("number = ?", (row["number"],))
        return view_of(await self._row(webhook, delivery))

    async def resend_dead(self, webhook: str) -> int:
        """All that were given up; how many."""
        return await self._requeue("webhook = ? AND state = ?", (webhook, DeliveryState.DEAD))

    async def page(self, webhook: str, query: DeliveryQuery) -> DeliveryPage:
        """Newest first."""
        conditions, values = ["webhook = ?"], list[Any]([webhook])
        for condition, value in (("state = ?", query.state), ("number < ?", query.before)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        rows = await self._database.fetch_all(
            f"SELECT * FROM webhook_deliveries WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?",  # noqa: S608
            (*values, query.limit + 1),
        )
        found = rows[: query.limit]
        following = found[-1]["number"] if len(rows) > query.limit else None
        return DeliveryPage(items=[view_of(row) for row in found], next=following)

    async def details(self, webhook: str, delivery: str) -> DeliveryDetails:
        """Raises ProblemError 404."""
        row = await self._row(webhook, delivery)
        attempts = await self._database.fetch_all(
            "SELECT at, took_s, status, error FROM webhook_attempts WHERE delivery = ? ORDER BY id DESC LIMIT ?",
            (row["number"], ATTEMPTS_SHOWN),
        )
        return DeliveryDetails(
            delivery=view_of(row),
            message=msgspec.json.decode(row["body"], type=WebhookMessage),
            attempts=[AttemptView(**dict(attempt)) for attempt in reversed(attempts)],
        )

    async def counts(self) -> dict[str, Counts]:
        """Of every webhook."""
        rows = await self._database.fetch_all("SELECT id, delivered_at, error FROM webhooks")
        numbers = await self._database.fetch_all(
            "SELECT webhook, state, count(*) AS number FROM webhook_deliveries GROUP BY webhook, state"
        )
        counted = {(row["webhook"], row["state"]): int(row["number"]) for row in numbers}
        return {
            row["id"]: Counts(
                waiting=counted.get((row["id"], DeliveryState.WAITING), 0),
                dead=counted.get((row["id"], DeliveryState.DEAD), 0),
                delivered_at=row["delivered_at"],
                error=row["error"],
            )
            for row in rows
        }

    async def failing(self, before: float) -> list[str]:
        """Webhooks that have taken nothing since then, with something that was queued before and tried in vain."""
        rows = await self._database.fetch_all(
            "SELECT id FROM webhooks WHERE coalesce(delivered_at, 0) < ? AND EXISTS"
            " (SELECT 1 FROM webhook_deliveries WHERE webhook = webhooks.id"
            " AND state = 'waiting' AND attempts > 0 AND queued_at < ?)",
            (before, before),
        )
        return [row["id"] for row in rows]

    async def tidy(self, webhook: str, ended_before: float) -> int:
        """Delete what ended before then, and hold the bounds; how many had to be given up for them."""
        await self._database.execute(
            "DELETE FROM webhook_deliveries WHERE webhook = ? AND ended_at < ?", (webhook, ended_before)
        )
        given_up = await self._database.execute(
            f"UPDATE webhook_deliveries SET state = ?, ended_at = ?, error = ? WHERE {_BEYOND}",  # noqa: S608
            (
                *(DeliveryState.DEAD, self._clock(), f"more than {KEPT_MAX} wait"),
                *_beyond(webhook, DeliveryState.WAITING),
            ),
        )
        for state in (DeliveryState.DELIVERED, DeliveryState.DEAD):
            await self._database.execute(f"DELETE FROM webhook_deliveries WHERE {_BEYOND}", _beyond(webhook, state))  # noqa: S608
        return given_up

    async def _requeue(self, condition: str, values: tuple[object, ...]) -> int:
        now = self._clock()
        return await self._database.execute(
            f"UPDATE webhook_deliveries SET {_QUEUED} WHERE {condition}",  # noqa: S608
            (DeliveryState.WAITING, now, now, *values),
        )

    async def _record(self, waiting: Waiting, outcome: Outcome, change: str, values: tuple[object, ...]) -> None:
        """The attempt and what follows from it. If the webhook was removed meanwhile, there is nothing to record."""
        async with self._database.transaction() as connection:
            async with connection.execute(
                f"UPDATE webhook_deliveries SET attempts = attempts + 1, status = ?, error = ?, {change}"  # noqa: S608
                " WHERE number = ? AND state = 'waiting'",
                (outcome.status, outcome.error, *values, waiting.number),
            ) as cursor:
                if not cursor.rowcount:
                    return
            await connection.execute(
                "INSERT INTO webhook_attempts (delivery, at, took_s, status, error) VALUES (?, ?, ?, ?, ?)",
                (waiting.number, outcome.at, outcome.took_s, outcome.status, outcome.error),
            )
            taken_at = None if outcome.error else outcome.at
            await connection.execute(
                "UPDATE webhooks SET error = ?, delivered_at = coalesce(?, delivered_at) WHERE id = ?",
                (outcome.error, taken_at, waiting.webhook),
            )

    async def _row(self, webhook: str, delivery: str) -> sqlite3.Row:
        row = await self._database.fetch_one(
            "SELECT * FROM webhook_deliveries WHERE webhook = ? AND id = ?", (webhook, delivery)
        )
        if row is None:
            raise not_found("delivery", delivery, f"List them: amda webhook deliveries {webhook}")
        return row


def _beyond(webhook: str, state: DeliveryState) -> tuple[object, ...]:
    return webhook, state, webhook, state, KEPT_MAX


def message_of(event: EventView, webhook: str) -> WebhookMessage:
    """An event as a webhook's receiver gets it, under a new id."""
    return WebhookMessage(
        id=uuid.uuid4().hex,
        webhook=webhook,
        seq=event.seq,
        at=event.at,
        type=event.type,
        session=event.session,
        data=event.data,
    )


def view_of(row: sqlite3.Row) -> DeliveryView:
    state = DeliveryState(row["state"])
    return DeliveryView(
        id=row["id"],
        webhook=row["webhook"],
        seq=row["seq"],
        type=row["type"],
        session=row["session"],
        state=state,
        created_at=row["created_at"],
        due_at=row["due_at"] if state is DeliveryState.WAITING else None,
        ended_at=row["ended_at"],
        attempts=row["attempts"],
        status=row["status"],
        error=row["error"],
    )
