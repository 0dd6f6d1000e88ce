"""A real Redis and a real database for the pairing room; the sessions' room is a fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.events import EventBus
from appliance.redis_server import RedisServer
from tests.integration.pairing.rig import Rig


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
async def rig(database: Database, bus: EventBus, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(database, bus, redis_server, f"unix://{tmp_path}/run/redis.sock")
    for session in ("one", "two"):
        await made.sessions.create(session, session)
    yield made
    await made.close()
