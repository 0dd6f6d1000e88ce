"""The whole figures, with the shipped settings: what a fleet costs, and what fifty kills lose."""

from __future__ import annotations

import msgspec
import pytest

from appliance.bench import crash, fleet


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sessions", [20, 60])
async def test_fleet(sessions: int) -> None:
    result = await fleet.run(sessions=sessions)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_fifty_kills(seed: int) -> None:
    result = await crash.run(kills=50, seed=seed)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
