"""The short rehearsals are part of every change: what the README promises is carried out, not only its parts."""

from __future__ import annotations

import msgspec
import pytest

from appliance.bench import crash, first_light
from appliance.bench.proof import ACK_WINDOW_S, in_window

KILLS = 6
"""Enough for each target to be met; `./run-tests long` has fifty."""


@pytest.mark.timeout(120)
async def test_first_light() -> None:
    result = await first_light.run()
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()


@pytest.mark.timeout(180)
async def test_kills_lose_nothing() -> None:
    result = await crash.run(kills=KILLS, seed=3)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
    assert sum(result.kills.values()) == KILLS


def test_only_the_window_excuses_a_loss() -> None:
    assert in_window(100.0, [100.0 + ACK_WINDOW_S / 2])
    assert not in_window(100.0, [100.0 + ACK_WINDOW_S * 2])
    assert not in_window(None, [100.0])
