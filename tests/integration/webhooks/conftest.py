"""Webhooks on a real database with real receivers on loopback; the clock is the test's."""

from __future__ import annotations

import pytest

from appliance.database import Database
from appliance.events import EventBus
from tests.integration.daemon.conftest import redis_server
from tests.integration.history.conftest import bus, database, receiver
from tests.integration.webhooks.rig import HookRig

__all__ = ["bus", "database", "receiver", "redis_server"]


@pytest.fixture
async def rig(database: Database, bus: EventBus) -> HookRig:
    made = HookRig(database, bus)
    await made.service.load()
    return made
