"""A whole day of the fleet before the interface, a thousand times as fast as it passes: a minute and a half."""

from __future__ import annotations

import pytest

from tests.unit.tui.soak import DAY_S, soak


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_day_passes_and_nothing_drifts() -> None:
    await soak(DAY_S)
