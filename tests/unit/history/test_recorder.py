"""The recorder across restarts, removals, and clocks that are set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.history.recorder import SETTLE_S, TRUST_S, UptimeRecorder
from appliance.model import SessionState
from appliance.model_history import UptimeSpan

START = 1_800_000_000.0 - 1_800_000_000.0 % 86_400
MINUTE = 60.0


class Clocks:
    """A wall clock that can be set, and a steady one that only runs on."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 1000.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


async def add_session(database: Database, name: str, state: SessionState = SessionState.ONLINE) -> None:
    await database.execute(
        "INSERT INTO sessions (id, name, node_id, state, since, created_at) VALUES (?, ?, 'n', ?, 0, 0)",
        (name, name, state),
    )


async def add_loss(database: Database, at: float, back_at: float | None, reason: str = "socket_closed") -> None:
    await database.execute(
        "INSERT INTO disconnections (session, generation, at, reason, back_at) VALUES ('a', 1, ?, ?, ?)",
        (at, reason, back_at),
    )


async def opened(database: Database, clocks: Clocks) -> UptimeRecorder:
    recorder = UptimeRecorder(database, lambda: clocks.wall, lambda: clocks.steady)
    await recorder.load()
    return recorder


def minutes(recorder: UptimeRecorder, number: int) -> list[float | None]:
    strip = recorder.strip("a", UptimeSpan.DAY)
    assert strip is not None
    assert len(strip.values) == 1440
    return strip.values[-number:]


async def test_an_hour_with_an_outage(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    recorder.observe("a", SessionState.ONLINE)
    clocks.pass_time(90)
    recorder.observe("a", SessionState.RECONNECTING)
    clocks.pass_time(60)
    recorder.observe("a", SessionState.ONLINE)
    clocks.pass_time(30)
    assert minutes(recorder, 4) == [1.0, 0.5, 0.5, None]
    assert list(recorder.share_of("a")) == pytest.approx([2 / 3] * 3)
    assert recorder.online_s("a", START) == 120
    month = recorder.strip("a", UptimeSpan.MONTH)
    assert month is not None
    assert month.values[-1] == pytest.approx(2 / 3, abs=1e-4)
    assert month.start == START - 719 * 3600
    day = recorder.strip("a", UptimeSpan.DAY, parts=24)
    assert day is not None
    assert (len(day.values), day.slot_s, day.values[-1]) == (24, 3600, pytest.approx(2 / 3, abs=1e-4))


async def test_a_stopped_session_is_not_down(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    recorder.observe("a", SessionState.ONLINE)
    clocks.pass_time(MINUTE)
    recorder.observe("a", SessionState.STOPPED)
    clocks.pass_time(MINUTE)
    assert minutes(recorder, 3) == [1.0, None, None]
    assert recorder.share_of("a")[0] == 1.0


async def test_what_was_stored_is_there_after_a_restart(database: Database, clocks: Clocks) -> None:
    await add_session(database, "a")
    recorder = await opened(database, clocks)
    clocks.pass_time(3 * MINUTE)
    await recorder.tick()
    again = await opened(database, clocks)
    assert minutes(again, 4) == [1.0, 1.0, 1.0, None]


async def test_a_session_that_stayed_online_while_the_daemon_was_away(database: Database, clocks: Clocks) -> None:
    await add_session(database, "a")
    recorder = await opened(database, clocks)
    clocks.pass_time(MINUTE)
    await recorder.tick()
    clocks.pass_time(2 * MINUTE)
    again = await opened(database, clocks)
    clocks.pass_time(MINUTE)
    assert minutes(again, 4) == [None, None, 1.0, None]
    await again.tick()
    assert minutes(again, 5) == [1.0, 1.0, 1.0, 1.0, None]


async def test_losses_while_the_daemon_was_away_come_from_the_ledger(database: Database, clocks: Clocks) -> None:
    await add_session(database, "a")
    recorder = await opened(database, clocks)
    clocks.pass_time(MINUTE)
    await recorder.tick()
    clocks.pass_time(3 * MINUTE)
    again = await opened(database, clocks)
    await add_loss(database, START + 90, START + 180)
    clocks.pass_time(SETTLE_S)
    await again.tick()
    assert minutes(again, 5) == [1.0, 0.5, 0.0, 1.0, 1.0]


async def test_the_time_that_the_box_was_off_is_not_uptime(database: Database, clocks: Clocks) -> None:
    await add_session(database, "a")
    recorder = await opened(database, clocks)
    clocks.pass_time(MINUTE)
    await recorder.tick()
    clocks.pass_time(2 * MINUTE)
    again = await opened(database, clocks)
    again.observe("a", SessionState.CONNECTING)
    await add_loss(database, clocks.wall, clocks.wall + 10, "fork_server_lost")
    clocks.pass_time(10)
    again.observe("a", SessionState.ONLINE)
    clocks.pass_time(50)
    await again.tick()
    assert minutes(again, 5) == [1.0, 0.0, 0.0, pytest.approx(5 / 6, abs=1e-4), None]


async def test_a_daemon_that_dies_before_it_settled_loses_no_gap(database: Database, clocks: Clocks) -> None:
    await add_session(database, "a")
    recorder = await opened(database, clocks)
    clocks.pass_time(MINUTE)
    await recorder.tick()
    clocks.pass_time(MINUTE)
    short = await opened(database, clocks)
    clocks.pass_time(1)
    await short.tick()
    clocks.pass_time(59)
    again = await opened(database, clocks)
    clocks.pass_time(MINUTE)
    await again.tick()
    assert minutes(again, 5) == [1.0, 1.0, 1.0, 1.0, None]


async def test_a_step_back_corrupts_nothing(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    recorder.observe("a", SessionState.ONLINE)
    clocks.pass_time(5 * MINUTE)
    await recorder.tick()
    clocks.wall -= 4 * MINUTE
    clocks.pass_time(MINUTE)
    await recorder.tick()
    clocks.pass_time(MINUTE)
    strip = recorder.strip("a", UptimeSpan.DAY)
    assert strip is not None
    assert all(value in (None, 1.0) for value in strip.values)
    assert strip.start + 1439 * 60 == clocks.wall
    assert recorder.share_of("a")[0] == 1.0


async def test_a_step_of_ten_years_and_back_keeps_the_rings(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    recorder.observe("a", SessionState.ONLINE)
    clocks.pass_time(5 * MINUTE)
    clocks.wall += 10 * 365 * 86_400
    await recorder.tick()
    clocks.pass_time(MINUTE)
    await recorder.tick()
    clocks.wall -= 10 * 365 * 86_400
    await recorder.tick()
    assert minutes(recorder, 8) == [None, 1.0, 1.0, 1.0, 1.0, 1.0, None, None]
    rows = await database.fetch_all("SELECT chunk FROM uptime_chunks WHERE span = '24h'")
    assert len(rows) == 2
    clocks.pass_time(TRUST_S)
    await recorder.tick()
    rows = await database.fetch_all("SELECT chunk FROM uptime_chunks WHERE span = '24h'")
    assert all(row["chunk"] * 3600 <= clocks.wall for row in rows)


async def test_old_slots_go(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    recorder.observe("a", SessionState.ONLINE)
    for _ in range(60):
        clocks.pass_time(3600)
        await recorder.tick()
    rows = await database.fetch_all("SELECT chunk FROM uptime_chunks WHERE span = '24h'")
    assert len(rows) == 24
    assert recorder.share_of("a") == (1.0, 1.0, 1.0)


async def test_a_removed_session_leaves_nothing(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    recorder.observe("a", SessionState.ONLINE)
    clocks.pass_time(MINUTE)
    await recorder.tick()
    await recorder.forget("a")
    await recorder.tick()
    assert recorder.strip("a", UptimeSpan.DAY) is None
    assert await database.fetch_all("SELECT 1 FROM uptime_chunks UNION ALL SELECT 1 FROM uptime_marks") == []


async def test_two_hundred_sessions_are_cheap(database: Database, clocks: Clocks) -> None:
    recorder = await opened(database, clocks)
    for number in range(200):
        recorder.observe(f"s{number}", SessionState.ONLINE)
    for _ in range(3):
        clocks.pass_time(MINUTE)
        await recorder.tick()
    row = await database.fetch_one("SELECT count(*), sum(length(slots)) FROM uptime_chunks")
    assert row is not None
    assert row[0] == 600
    assert row[1] <= 200 * 1024
