"""The event bus: what happened, numbered and durable, for every subscriber that wants to follow or to catch up.

A subscriber keeps only the number of the last event that it has seen; recent events are served from memory, older ones
from the database. So a slow subscriber costs nothing and misses nothing, and one that comes back goes on where it was.
Subscribers are woken some at a time: a thousand of them hold up nobody who asks for something else meanwhile.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

import aiosqlite
import msgspec

from appliance.config import Settings
from appliance.database import Database
from appliance.model import EventView, SessionView

_RECENT: Final = 512
"""Events kept in memory: what subscribers that keep up ever ask for."""
_BATCH: Final = 200
"""Rows read at a time for a subscriber that catches up."""
_PRUNE_EVERY: Final = 256
"""Old rows are deleted once in so many events; each time costs a write to the disk."""
_WOKEN_AT_ONCE: Final = 8
"""Subscribers that are woken in one turn of the event loop: a millisecond of work between two looks at the sockets."""
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
        self._order = asyncio.Lock()
        self._waiting: dict[asyncio.Future[bool], int] = {}
        """What wakes each subscriber that has seen everything, and the number up to which it has."""
        self._waking: asyncio.Task[None] | None = None
        self._closed = False
        self._recorders: list[Recorder] = []

    def record_with(self, recorder: Recorder) -> None:
        """From now on it is asked about each event."""
        self._recorders.append(recorder)

    async def apply_settings(self, settings: Settings) -> None:
        """New settings while everything runs."""
        self.kept = settings.limits.events_kept

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
        self._wake()
        return event

    async def was_told(self, kind: str, session: str | None, name: str) -> bool:
        """Whether there is an event of this type whose `id` is that, among those that are kept: for those who record
        something, then tell of it, and may have been killed in between."""
        row = await self._database.fetch_one(
            "SELECT 1 FROM events WHERE type = ? AND session IS ? AND json_extract(data, '$.id') = ?",
            (kind, session, name),
        )
        return row is not None

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
        async for batch in self.follow(after):
            for event in batch:
                yield event

    async def follow(self, after: int | None = None) -> AsyncIterator[list[EventView]]:
        """As `subscribe`, as many at a time as there are; an empty list when `nudge` was called and nothing is new."""
        cursor = self._last if after is None else min(max(after, 0), self._last)
        while not self._closed:
            if self._last > cursor:
                batch = await self._since(cursor)
                cursor = batch[-1].seq if batch else self._last
                yield batch
            elif not await self._news(cursor):
                yield []

    @property
    def followers(self) -> int:
        """Subscribers that have seen everything and wait for more."""
        return len(self._waiting)

    async def nudge(self) -> None:
        """Wake all who wait, although nothing is new."""
        await self._wake_some(list(self._waiting), news=False)

    async def close(self) -> None:
        """End every subscription."""
        self._closed = True
        await self._wake_all()

    async def _news(self, cursor: int) -> bool:
        """Wait until something is published or all of it ends; False if it was only a nudge."""
        woken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = cursor
        try:
            return await woken
        finally:
            self._waiting.pop(woken, None)

    def _wake(self) -> None:
        if self._waiting and (self._waking is None or self._waking.done()):
            self._waking = asyncio.create_task(self._wake_all(), name="wake subscribers")

    async def _wake_all(self) -> None:
        """Until nobody waits who lacks something."""
        while behind := [woken for woken, seen in self._waiting.items() if self._closed or seen < self._last]:
            await self._wake_some(behind, news=True)

    async def _wake_some(self, waiting: Sequence[asyncio.Future[bool]], *, news: bool) -> None:
        for start in range(0, len(waiting), _WOKEN_AT_ONCE):
            for woken in waiting[start : start + _WOKEN_AT_ONCE]:
                self._waiting.pop(woken, None)
                if not woken.done():
                    woken.set_result(news)
            await asyncio.sleep(0)

    async def _since(self, cursor: int) -> list[EventView]:
        if self._recent and cursor >= self._recent[0].seq - 1:
            newer = list(itertools.takewhile(lambda event: event.seq > cursor, reversed(self._recent)))
            return newer[::-1]
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
