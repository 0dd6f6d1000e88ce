"""Keeps a store true: snapshot, then numbered events; a new snapshot after a gap, a new connection after a loss.

Events say what has changed; the facts that they leave out are read at most once a second, and never so often that the
reading itself becomes work: an answer that took long is not asked for again soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypeVar

from appliance.client import ApiError, ClientError
from appliance.model_access import CallerView
from appliance.model_history import UptimeSpan
from tui.port import Api, Door
from tui.store import Link, Outcome, Snapshot, Store, Topic
from tui.text import known

T = TypeVar("T")

LOOK_S: Final = 1.0
"""Between two looks at what is stale."""
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 5.0
"""A daemon that restarts is back within two seconds; one that is off is asked rarely."""
DUTY: Final = 20
"""A fact is not read again before so many times the duration of the last reading have passed."""
STRIP_PARTS: Final = 24
"""An hour for each cell of the 24 h strip."""
_EVERY_S: Final = {
    Topic.SESSIONS: 10.0,  # heartbeats: last traffic and memory are in no event
    Topic.STATUS: 5.0,
    Topic.PAIRINGS: 30.0,
    Topic.ALERTS: 30.0,
    Topic.UPTIME: 300.0,
    Topic.HOURS: 300.0,
    Topic.STORAGE: 60.0,
}
"""So old may facts become although no event speaks of them."""
_LEAST_S: Final = {Topic.HOURS: 5.0, Topic.STATUS: 2.0, Topic.STORAGE: 10.0}
"""So long at least between two readings although events ask for more; otherwise a look."""


class Attachment:
    """Runs until it is cancelled. `on_change` is called after something that a screen may show has changed."""

    def __init__(
        self, door: Door, store: Store, on_change: Callable[[], None], clock: Callable[[], float] = time.time
    ) -> None:
        self._door = door
        self._store = store
        self._on_change = on_change
        self._clock = clock
        self._api: Api | None = None
        self._next: dict[Topic, float] = {}
        self._read_at: dict[Topic, float] = {}
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Attach, and attach again after every loss."""
        pause = RETRY_FIRST_S
        while True:
            try:
                async with self._door() as api:
                    self._api = api
                    pause = RETRY_FIRST_S
                    await self._live(api)
            except ClientError as error:
                self._store.lost(known(str(error)))
                self._on_change()
            finally:
                self._api = None
            await asyncio.sleep(pause)
            pause = min(RETRY_MAX_S, 2 * pause)

    async def ask(self, call: Callable[[Api], Awaitable[T]]) -> T:
        """One request of a screen. Raises ClientError."""
        if self._api is None:
            raise ClientError("The appliance cannot be reached just now.")
        return await call(self._api)

    def hurry(self, *topics: Topic) -> None:
        """Somebody has changed something: read it at once."""
        self._store.stale.update(topics)
        for topic in topics:
            self._next.pop(topic, None)
        self._look.set()

    async def _live(self, api: Api) -> None:
        """Until the connection is lost. Raises ClientError."""
        await self._snapshot(api)
        await until_one_ends(self._follow(api), self._keep_fresh(api))

    async def _snapshot(self, api: Api) -> None:
        if self._store.link is not Link.LIVE:
            self._store.load(await take_snapshot(api), self._clock())
        now = time.monotonic()
        self._read_at = {Topic.SESSIONS: now, Topic.STATUS: now}
        self._on_change()

    async def _follow(self, api: Api) -> None:
        """Until the daemon ends the stream: that is a loss as well."""
        async for event in api.events(after=self._store.seq):
            before = self._store.revision
            if self._store.apply(event, self._clock()) is Outcome.GAP:
                self._store.load(await take_snapshot(api), self._clock())
            if self._store.revision != before:
                self._on_change()
        raise ClientError("The appliance has ended, or is being restarted.")

    async def _keep_fresh(self, api: Api) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), LOOK_S)
            self._look.clear()
            before = self._store.revision
            for topic in Topic:
                if self._due(topic):
                    await self._read(api, topic)
            if self._store.revision != before:
                self._on_change()

    def _due(self, topic: Topic) -> bool:
        now = time.monotonic()
        old = now - self._read_at.get(topic, -_EVERY_S[topic]) >= _EVERY_S[topic]
        return (old or topic in self._store.stale) and now >= self._next.get(topic, 0.0)

    async def _read(self, api: Api, topic: Topic) -> None:
        """Read one group of facts. A refusal leaves what is shown as it is; a loss of the connection goes on up."""
        started = time.monotonic()
        self._store.stale.discard(topic)
        with contextlib.suppress(ApiError):
            await _READERS[topic](api, self._store, self._clock())
        now = time.monotonic()
        self._read_at[topic] = now
        self._next[topic] = now + max(_LEAST_S.get(topic, 0.0), DUTY * (now - started))


async def until_one_ends(*works: Coroutine[object, object, None]) -> None:
    """Do several things at once; when the first ends, or raises, so do the others."""
    tasks = {asyncio.create_task(work) for work in works}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def take_snapshot(api: Api) -> Snapshot:
    """The number is read first: what happens meanwhile is applied once more, which changes nothing."""
    status = await api.status()
    sessions, caller = await asyncio.gather(api.sessions(), _caller(api))
    return Snapshot(status=status, sessions=sessions, seq=status.last_event, caller=caller)


async def _caller(api: Api) -> CallerView | None:
    try:
        return await api.caller()
    except ApiError:  # of a release that does not say it
        return None


async def _sessions(api: Api, store: Store, now: float) -> None:
    store.refresh_sessions(await api.sessions(), now)


async def _status(api: Api, store: Store, now: float) -> None:
    store.refresh_status(await api.status(), now)


async def _pairings(api: Api, store: Store, _now: float) -> None:
    store.refresh_pairings(await api.pairings())


async def _alerts(api: Api, store: Store, _now: float) -> None:
    store.refresh_alerts(await api.alerts())


async def _uptime(api: Api, store: Store, _now: float) -> None:
    store.refresh_uptime(await api.uptime(UptimeSpan.DAY, parts=STRIP_PARTS))


async def _hours(api: Api, store: Store, now: float) -> None:
    """Disconnections since midnight, local time, as many hours as have begun."""
    day = time.localtime(now)
    midnight = time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
    stats = await api.history_stats(since=midnight)
    store.refresh_hours(item.count for item in stats.by_hour)


async def _storage(api: Api, store: Store, _now: float) -> None:
    store.refresh_storage(await api.storage())


_READERS: Final[dict[Topic, Callable[[Api, Store, float], Awaitable[None]]]] = {
    Topic.SESSIONS: _sessions,
    Topic.STATUS: _status,
    Topic.PAIRINGS: _pairings,
    Topic.ALERTS: _alerts,
    Topic.UPTIME: _uptime,
    Topic.HOURS: _hours,
    Topic.STORAGE: _storage,
}
