"""The terminal interface over a whole day of the fleet, and its figures with sixty sessions and with five hundred."""

from __future__ import annotations

import msgspec
import pytest

from appliance.bench import tui
from tests.unit.tui.soak import DAY_S, soak


@pytest.mark.timeout(1200)
async def test_a_day_passes_and_nothing_drifts() -> None:
    """The default suite has the same, as two minutes are enough for it; here nothing else runs beside it."""
    await soak(DAY_S)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sessions", [60, 500])
async def test_figures(sessions: int) -> None:
    result = await tui.run(sessions=sessions)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
