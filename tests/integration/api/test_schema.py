"""The API is what its description says: schemathesis asks what the description allows, and what it does not.

No answer may be a server error, differ from its schema, or be a success for somebody without a token.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from appliance.api.routes import Access
from appliance.client import ApplianceClient
from appliance.database import Database
from appliance.events import EventBus
from appliance.history.delivery import DeliveryError
from appliance.minio_server import free_port
from appliance.model_api import Scope
from appliance.redis_server import RedisServer
from tests.integration.api.schemathesis_run import run_schemathesis
from tests.integration.daemon.rig import ApiRig

pytestmark = pytest.mark.timeout(300)


@contextlib.asynccontextmanager
async def served(folder: Path, database: Database, bus: EventBus) -> AsyncIterator[tuple[ApiRig, str]]:
    """Webhooks are made, shown and changed as asked, but nothing is posted to the hosts that schemathesis invents."""
    port = free_port()
    bounds = {"api_requests_per_s": "100000", "api_burst": "100000", "api_failures": "100000"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("appliance.webhooks.service.post", _nobody_there)
        async with ApiRig.open(folder, database, bus, api_listen=f"127.0.0.1:{port}", **bounds) as rig:
            yield rig, f"http://127.0.0.1:{port}"


async def _nobody_there(*_: object) -> NoReturn:
    raise DeliveryError("nobody is there")


async def test_with_a_token(
    tmp_path: Path,
    database: Database,
    bus: EventBus,
    redis_server: RedisServer,
) -> None:
    """One example of everything; the long suite asks more than ten thousand times."""
    async with served(tmp_path, database, bus) as (rig, url), ApplianceClient(rig.socket) as client:
        for session in ("anna", "bob"):
            await client.create_session(session)
            await rig.capture(session, f"M-{session}")
        token = (await client.create_token("schemathesis", Scope.ADMIN)).secret
        outcome = await run_schemathesis(url, tmp_path, token=token, examples=1, phases="coverage,fuzzing")
    assert outcome.failures == []
    assert outcome.with_status(500, 599) == []
    assert len(outcome.answers) > 500
    assert len(outcome.with_status(200, 299)) > 50


async def test_without_a_token_nothing_succeeds(
    tmp_path: Path,
    database: Database,
    bus: EventBus,
    redis_server: RedisServer,
) -> None:
    async with served(tmp_path, database, bus) as (rig, url), ApplianceClient(rig.socket) as client:
        view = await client.create_session("anna")
        outcome = await run_schemathesis(url, tmp_path, token=None, examples=1, phases="fuzzing")
        assert await client.sessions() == [view]
        assert await client.tokens() == []
        public = frozenset(route.path for route in rig.routes if route.access is Access.PUBLIC)
    assert outcome.failures == []
    assert outcome.with_status(200, 399, besides=public) == []
    assert outcome.with_status(500, 599) == []
    assert len(outcome.with_status(401, 401)) > 50
