"""The event bus: what happened, numbered and durable, for every subscriber that wants to follow or to catch up.

A subscriber keeps only the number of the last event that it has seen; recent events are served from memory, older ones
from the database. So a slow subscriber costs nothing and misses nothing, and one that comes back goes on where it was.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import aiosqlite
import msgspec

from appliance.database import Database
from appliance.model import EventView, SessionView

_RECENT: Final = 512
"""Events kept in memory: what subscribers that keep up ever ask for."""
_BATCH: Final = 200
"""Rows read at a time for a subscriber that catches up."""
_PRUNE_EVERY: Final = 256
"""Old rows are deleted once in so many events; each time costs a write to the disk."""
_INSERT: Final = "INSERT INTO events (at, type, session, data) VALUES (?, ?, ?, ?)"


class Recorder(Protocol):
    """Records more in the transaction that records an event, so that both are there or neither."""

    def wants(self, kind: str, session: str | None) -> bool:
        """Whether it has something to record of such an event."""
        ...

    async def record(self, connection: aiosqlite.Connection, event: EventView) -> None:
        """Called within the transaction."""
        ...

    def recorded(self) -> None:
        """Called when the transaction is durable."""
        ...


class EventBus:
    """Call `await load()` before use."""

    def __init__(self, database: Database, kept: int, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self.kept = kept
        """Number of events that can be caught up with; may be changed."""
        self._clock = clock
        self._recent: collections.deque[EventView] = collections.deque(maxlen=_RECENT)
        self._last = 0
        self._changed = asyncio.Condition()
        self._order = asyncio.Lock()
        self._closed = False
        self._recorders: list[Recorder] = []

    def record_with(self, recorder: Recorder) -> None:
        """From now on it is asked about each event."""
        self._recorders.append(recorder)

    async def load(self) -> None:
        """Go on counting where the database stands."""
        row = await self._database.fetch_one("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        self._last = int(row["seq"]) if row else 0

    @property
    def last_seq(self) -> int:
        """Number of the newest event; 0 before the first one."""
        return self._last

    async def publish(self, kind: str, session: str | None = None, /, **data: Any) -> EventView:
        """Record an event and wake the subscribers. `data` must be JSON, without secrets, message bodies or numbers."""
        async with self._order:
            event = await self._record(kind, session, data)
            self._recent.append(event)
            self._last = event.seq
            if event.seq % _PRUNE_EVERY == 0:
                await self._database.execute("DELETE FROM events WHERE seq <= ?", (event.seq - self.kept,))
        async with self._changed:
            self._changed.notify_all()
        return event

    async def _record(self, kind: str, session: str | None, data: dict[str, Any]) -> EventView:
        at = self._clock()
        row = (_INSERT, (at, kind, session, msgspec.json.encode(data).decode()))
        recorders = [recorder for recorder in self._recorders if recorder.wants(kind, session)]
        if not recorders:
            return EventView(seq=await self._database.insert(*row), at=at, type=kind, session=session, data=data)
        async with self._database.transaction() as connection:
            async with connection.execute(*row) as cursor:
                event = EventView(seq=cursor.lastrowid or 0, at=at, type=kind, session=session, data=data)
            for recorder in recorders:
                await recorder.record(connection, event)
        for recorder in recorders:
            recorder.recorded()
        return event

    async def subscribe(self, after: int | None = None) -> AsyncIterator[EventView]:
        """Events with a number above `after` (None: only what happens from now on), in order, until `close`."""
        cursor = self._last if after is None else min(max(after, 0), self._last)
        while True:
            batch = await self._since(cursor)
            for event in batch:
                cursor = event.seq
                yield event
            async with self._changed:
                while self._last <= cursor and not self._closed:
                    await self._changed.wait()
            if self._closed:
                return

    async def close(self) -> None:
        """End every subscription."""
        self._closed = True
        async with self._changed:
            self._changed.notify_all()

    async def _since(self, cursor: int) -> list[EventView]:
        if self._recent and cursor >= self._recent[0].seq - 1:
            return [event for event in self._recent if event.seq > cursor]
        rows = await self._database.fetch_all(
            "SELECT seq, at, type, session, data FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (cursor, _BATCH)
        )
        return [
            EventView(
                seq=row["seq"],
                at=row["at"],
                type=row["type"],
                session=row["session"],
                data=msgspec.json.decode(row["data"], type=dict[str, object]),
            )
            for row in rows
        ]


class StateEvents:
    """Tells of each change of a session's state or explanation; what stays the same is not told again."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._told: dict[str, tuple[str, str]] = {}

    async def on_change(self, view: SessionView) -> None:
        """Callback for the sessions' room."""
        if self._told.get(view.id) == (view.state, view.detail):
            return
        self._told[view.id] = (view.state, view.detail)
        await self._bus.publish("session.state", view.id, state=view.state, detail=view.detail)
