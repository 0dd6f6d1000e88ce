"""A database, an event bus and somebody who listens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.events import EventBus
from tests.integration.history.receiver import Receiver


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
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    yield made
    await made.stop()
