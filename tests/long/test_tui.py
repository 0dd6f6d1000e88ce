"""The terminal interface over a whole day of the fleet, and its figures with sixty sessions and with five hundred."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.bench import tui
from appliance.bench.crowd import Crowd
from appliance.bench.rig import Rig
from tests.integration.tui import story
from tests.integration.tui.tmux import Tmux
from tests.unit.tui.soak import soak

DAY_S = 24 * 3600.0


@pytest.mark.timeout(1200)
async def test_a_day_passes_and_nothing_drifts() -> None:
    await soak(DAY_S)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sessions", [60, 500])
async def test_figures(sessions: int) -> None:
    result = await tui.run(sessions=sessions)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()


@pytest.mark.timeout(900)
async def test_a_day_at_the_terminal_among_sixty(tmp_path: Path) -> None:
    async with Rig(variables=story.SMALL_STORE) as rig:
        crowd = Crowd(rig, 60)
        await crowd.link_all()
        await crowd.all_online()
        async with Tmux(tmp_path, rig.environment, 120, 40) as terminal:
            await terminal.until("60 of 60 online")
            await story.day(rig, terminal)
