"""The event bus: numbered, in order, nothing missed and nothing twice across restarts and catch-up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.events import EventBus
from appliance.model import EventView


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


async def take(bus: EventBus, number: int, after: int | None) -> list[EventView]:
    found = []
    async with asyncio.timeout(5):
        async for event in bus.subscribe(after):
            found.append(event)
            if len(found) == number:
                break
    return found


async def test_follow_from_now(database: Database) -> None:
    bus = EventBus(database, kept=100)
    await bus.load()
    await bus.publish("before")
    follower = asyncio.create_task(take(bus, 2, None))
    await asyncio.sleep(0)
    await bus.publish("session.state", "one", state="online")
    await bus.publish("media.stored", "one", id="x")
    events = await follower
    assert [event.type for event in events] == ["session.state", "media.stored"]
    assert events[0].data == {"state": "online"}


async def test_catch_up_after_a_restart_from_database_and_memory(database: Database) -> None:
    async with database.transaction() as connection:  # as many publications, without their 700 writes to the disk
        await connection.executemany(
            "INSERT INTO events (at, type, session, data) VALUES (1.0, 'n', NULL, ?)",
            [(f'{{"number":{number}}}',) for number in range(700)],
        )
    again = EventBus(database, kept=10_000)
    await again.load()
    await again.publish("n", None, number=700)
    events = await take(again, 691, after=10)
    assert [event.seq for event in events] == list(range(11, 702))
    assert [event.data["number"] for event in events] == list(range(10, 701))


async def test_old_events_are_pruned_but_numbers_go_on(database: Database) -> None:
    bus = EventBus(database, kept=10)
    await bus.load()
    for _ in range(256):
        await bus.publish("n")
    row = await database.fetch_one("SELECT count(*), min(seq) FROM events")
    assert row is not None
    assert tuple(row) == (10, 247)
    again = EventBus(database, kept=10)
    await again.load()
    assert again.last_seq == 256


async def test_a_number_from_the_future_starts_from_now(database: Database) -> None:
    bus = EventBus(database, kept=10)
    await bus.load()
    await bus.publish("old")
    follower = asyncio.create_task(take(bus, 1, after=10**9))
    await asyncio.sleep(0)
    await bus.publish("new")
    assert [event.type for event in await follower] == ["new"]


async def test_close_ends_subscriptions(database: Database) -> None:
    bus = EventBus(database, kept=10)
    await bus.load()
    follower = asyncio.create_task(take(bus, 1, None))
    await asyncio.sleep(0)
    await bus.close()
    assert await follower == []


async def test_a_thousand_followers_are_told_once_each_while_others_go_on(database: Database) -> None:
    bus = EventBus(database, kept=100)
    await bus.load()
    told: list[int] = []
    complete = asyncio.Event()

    async def follow(number: int) -> None:
        async for batch in bus.follow():
            told.extend(number for _ in batch)
            if len(told) >= 2000:
                complete.set()

    followers = [asyncio.create_task(follow(number)) for number in range(1000)]
    await asyncio.sleep(0)
    await bus.publish("first")
    assert len(told) < 100  # whoever published is not kept until everybody has heard of it
    await bus.publish("second")
    async with asyncio.timeout(5):
        await complete.wait()
    assert sorted(told) == sorted([*range(1000), *range(1000)])
    await bus.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*followers)


async def test_a_nudge_brings_an_empty_batch_and_nothing_is_missed(database: Database) -> None:
    bus = EventBus(database, kept=100)
    await bus.load()
    batches = bus.follow()
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    await bus.nudge()
    assert await waiting == []
    await bus.publish("news")
    assert [event.type for event in await anext(batches)] == ["news"]
