"""More than ten thousand requests by schemathesis against the API, with every check, with and without a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.api.routes import Access
from appliance.client import ApplianceClient
from appliance.database import Database
from appliance.events import EventBus
from appliance.model_api import Scope
from appliance.redis_server import RedisServer
from tests.integration.api.schemathesis_run import run_schemathesis
from tests.integration.api.test_schema import served
from tests.integration.daemon.conftest import bus, database, redis_server

__all__ = ["bus", "database", "redis_server"]

REQUESTS = 10_000
EXAMPLES = 120
"""Of each operation and phase: more than ten thousand requests, half an hour on two busy cores."""

pytestmark = pytest.mark.timeout(3600)


async def test_ten_thousand_requests(
    tmp_path: Path,
    database: Database,
    bus: EventBus,
    redis_server: RedisServer,
) -> None:
    async with served(tmp_path, database, bus) as (rig, url), ApplianceClient(rig.socket) as client:
        for session in ("anna", "bob"):
            await client.create_session(session)
            await rig.capture(session, f"M-{session}")
        token = (await client.create_token("schemathesis", Scope.ADMIN)).secret
        outcome = await run_schemathesis(url, tmp_path, token=token, examples=EXAMPLES)
    assert outcome.failures == []
    assert outcome.with_status(500, 599) == []
    assert len(outcome.answers) >= REQUESTS
    assert len(outcome.with_status(401, 401)) < REQUESTS // 5, "its token worked to the end"


async def test_two_thousand_requests_without_a_token(
    tmp_path: Path,
    database: Database,
    bus: EventBus,
    redis_server: RedisServer,
) -> None:
    async with served(tmp_path, database, bus) as (rig, url):
        outcome = await run_schemathesis(url, tmp_path, token=None, examples=20, phases="coverage,fuzzing")
        public = frozenset(route.path for route in rig.routes if route.access is Access.PUBLIC)
    assert outcome.failures == []
    assert outcome.with_status(200, 399, besides=public) == []
    assert outcome.with_status(500, 599) == []
    assert len(outcome.answers) >= 2000
