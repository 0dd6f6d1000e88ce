"""A real Redis and a real database for the daemon's rooms; the sessions' room is a fake where the test says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.events import EventBus
from appliance.redis_server import RedisServer
from tests.integration.daemon.rig import ApiRig


@pytest.fixture
async def redis_server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(folder=tmp_path / "redis", socket=tmp_path / "run" / "redis.sock", log=lambda _: None)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


@pytest.fixture
async def bus(database: Database) -> EventBus:
    made = EventBus(database, kept=1000)
    await made.load()
    return made


@pytest.fixture
async def api_rig(
    tmp_path: Path, database: Database, bus: EventBus, redis_server: RedisServer
) -> AsyncIterator[ApiRig]:
    async with ApiRig.open(tmp_path, database, bus) as made:
        yield made
