"""The clock that a rehearsal can set, and that nobody else can."""

from __future__ import annotations

import time
from pathlib import Path

from appliance.wallclock import FILE, VARIABLE, ClockSetter, staging_clock, wall_clock


def test_without_the_file_it_is_the_machines_clock(tmp_path: Path) -> None:
    assert wall_clock(None) is time.time
    assert wall_clock(tmp_path / FILE) is time.time
    assert staging_clock({}) is time.time
    assert staging_clock({VARIABLE: str(tmp_path / FILE)}) is time.time


def test_everybody_who_follows_it_sees_a_step_at_once(tmp_path: Path) -> None:
    setter = ClockSetter(tmp_path / "staging")
    setter.begin()
    clocks = [wall_clock(tmp_path / "staging" / FILE), staging_clock({VARIABLE: str(tmp_path / "staging" / FILE)})]
    assert all(abs(clock() - time.time()) < 5 for clock in clocks)
    setter.set(-7200.0)
    assert all(abs(clock() - time.time() + 7200) < 5 for clock in clocks)
    setter.set(30.0)
    assert all(abs(clock() - time.time() - 30) < 5 for clock in clocks)
    assert (tmp_path / "staging" / FILE).stat().st_mode & 0o077 == 0
