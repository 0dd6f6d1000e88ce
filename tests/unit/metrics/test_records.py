"""What is counted from the record: once, when it has settled, and only what came since the daemon started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.metrics.instruments import Instruments
from appliance.metrics.records import SETTLE_S, Records

NOW = 1_790_000_000.0


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


class Rig:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOW
        self.instruments = Instruments()
        self.records = Records(database, self.instruments, lambda: self.now)

    async def lose(self, session: str, reason: str, at: float) -> int:
        return await self.database.insert(
            "INSERT INTO disconnections (session, generation, at, reason) VALUES (?, 1, ?, ?)", (session, at, reason)
        )

    async def back(self, number: int, recovery_s: float) -> None:
        await self.database.execute(
            "UPDATE disconnections SET back_at = at + ?, recovery_s = ? WHERE id = ?", (recovery_s, recovery_s, number)
        )

    async def pair(self, name: str, state: str, *, shown_s: float | None = None, ended_s: float | None = None) -> None:
        shown = None if shown_s is None else NOW + shown_s
        ended = None if ended_s is None else NOW + ended_s
        await self.database.execute(
            "INSERT OR REPLACE INTO pairings (id, session, method, state, created_at, updated_at, shown_at, ended_at)"
            " VALUES (?, 'one', 'code', ?, ?, ?, ?, ?)",
            (name, state, NOW, NOW, shown, ended),
        )

    def value(self, name: str, **labels: str) -> float | None:
        return self.instruments.registry.get_sample_value(name, labels)


async def test_a_loss_is_counted_once_by_the_reason_that_it_has_in_the_end(database: Database) -> None:
    rig = Rig(database)
    await rig.lose("old", "crash", NOW - 100)
    await rig.records.load()
    number = await rig.lose("one", "socket_closed", NOW)
    await rig.records.count()
    assert rig.value("amda_disconnections_total", reason="socket_closed") == 0
    await database.execute("UPDATE disconnections SET reason = 'device_removed' WHERE id = ?", (number,))
    rig.now += SETTLE_S
    for _ in range(3):
        await rig.records.count()
    assert rig.value("amda_disconnections_total", reason="device_removed") == 1
    assert rig.value("amda_disconnections_total", reason="socket_closed") == 0
    assert rig.value("amda_disconnections_total", reason="crash") == 0
    assert rig.value("amda_session_disconnections_total", session="one") == 1


async def test_a_row_of_the_future_is_not_waited_for(database: Database) -> None:
    rig = Rig(database)
    await rig.records.load()
    await rig.lose("one", "crash", NOW + 86_400)  # the clock was set back after it
    await rig.records.count()
    assert rig.value("amda_disconnections_total", reason="crash") == 1


async def test_recoveries_are_measured_also_of_what_was_open_at_the_start(database: Database) -> None:
    rig = Rig(database)
    before = await rig.lose("one", "socket_closed", NOW - 100)
    await rig.records.load()
    later = await rig.lose("two", "socket_closed", NOW - 50)
    await rig.back(before, 3.0)
    await rig.records.count()
    assert rig.value("amda_recovery_seconds_count") == 1
    await rig.back(later, 40.0)
    for _ in range(2):
        await rig.records.count()
    assert rig.value("amda_recovery_seconds_count") == 2
    assert rig.value("amda_recovery_seconds_sum") == 43.0
    assert rig.value("amda_recovery_seconds_bucket", le="5.0") == 1
    assert not rig.records._open_losses


async def test_attempts_to_link_are_counted_when_they_end(database: Database) -> None:
    rig = Rig(database)
    await rig.pair("past", "linked", shown_s=1, ended_s=2)
    await rig.records.load()
    await rig.pair("a", "waiting", shown_s=2)
    await rig.records.count()
    assert rig.value("amda_pairings_total", method="code", outcome="linked") == 0
    await database.execute("UPDATE pairings SET state = 'linked', ended_at = ? WHERE id = 'a'", (NOW + 30,))
    await rig.pair("b", "expired", shown_s=4, ended_s=160)
    await rig.pair("c", "cancelled", ended_s=1)
    for _ in range(2):
        await rig.records.count()
    assert rig.value("amda_pairings_total", method="code", outcome="linked") == 1
    assert rig.value("amda_pairings_total", method="code", outcome="expired") == 1
    assert rig.value("amda_pairings_total", method="qr", outcome="linked") == 0
    assert rig.value("amda_pairing_code_seconds_count") == 2
    assert rig.value("amda_pairing_link_seconds_sum") == 30.0
