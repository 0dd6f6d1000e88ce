"""Linking at full size, with the shipped settings: sixty at once, the same while everything is restarted, and a
hundred failures each followed by an attempt that must work."""

from __future__ import annotations

import msgspec
import pytest

from appliance.bench import pairing, pairing_cycles


@pytest.mark.timeout(700)
@pytest.mark.parametrize(("disturbed", "seed"), [(False, 1), (True, 1), (True, 2)])
async def test_sixty_at_once(disturbed: bool, seed: int) -> None:
    result = await pairing.run(users=60, disturbed=disturbed, seed=seed)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
    assert result.linked >= 57


@pytest.mark.timeout(2000)
async def test_a_hundred_failures_leave_nothing_behind() -> None:
    result = await pairing_cycles.run(cycles=100)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
