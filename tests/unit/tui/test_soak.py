"""A cut of the soak that `./run-tests long` runs for a whole day of the fleet."""

from __future__ import annotations

import pytest

from tests.unit.tui.soak import soak

CUT_S = 4 * 3600.0


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_hours_pass_and_nothing_drifts() -> None:
    await soak(CUT_S)
