"""The ledger: rows as the state machine asks for them, durations that a set clock leaves right, pages, retention."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.history.ledger import Ledger, Query
from appliance.sessions.inputs import CloseRows, LoggedIn, OpenRow, RefineRow
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason

NOW = 1_800_000_000.0
ENGINE = "0.5.2"


class Clocks:
    def __init__(self) -> None:
        self.wall = NOW
        self.steady = 50.0


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "amda.db")
    yield opened
    await opened.close()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def ledger(database: Database, clocks: Clocks) -> Ledger:
    return Ledger(database, lambda: clocks.wall, lambda: clocks.steady, whatsapp="2.3000.1")


def loss(at: float = NOW, reason: DisconnectReason = DisconnectReason.SOCKET_CLOSED, raw: str = "") -> OpenRow:
    return OpenRow(
        at=at,
        reason=reason,
        connected_at=at - 100,
        uptime_s=100.0,
        action=Action.REDIAL,
        charged=True,
        signal="disconnected",
        code=503,
        raw=raw,
    )


async def test_a_row_has_everything(ledger: Ledger, clocks: Clocks) -> None:
    await ledger.write("a", 3, [loss(raw="<x from='221771234512@s.whatsapp.net'/>")], ENGINE)
    clocks.wall, clocks.steady = NOW + 2.5, 52.5
    await ledger.write("a", 3, [CloseRows(at=NOW + 2.5), LoggedIn()], ENGINE)
    (row,) = (await ledger.page(Query(), 10)).items
    assert (row.session, row.at, row.reason, row.code, row.decision) == ("a", NOW, "socket_closed", 503, "redial")
    assert (row.uptime_s, row.recovery_s, row.back_at, row.charged) == (100.0, 2.5, NOW + 2.5, True)
    assert (row.engine, row.whatsapp) == ("0.5.2", "2.3000.1")
    assert row.text == "The connection to WhatsApp was closed."
    assert "77123" not in row.raw


async def test_recovery_is_measured_by_the_steady_clock(ledger: Ledger, clocks: Clocks) -> None:
    await ledger.write("a", 1, [loss()], ENGINE)
    clocks.wall, clocks.steady = NOW - 3600, 53.0
    await ledger.write("a", 1, [CloseRows(at=clocks.wall)], ENGINE)
    assert (await ledger.rows(Query()))[0].recovery_s == 3.0


async def test_recovery_of_a_row_that_another_daemon_opened(ledger: Ledger, database: Database, clocks: Clocks) -> None:
    await ledger.write("a", 1, [loss()], ENGINE)
    again = Ledger(database, lambda: clocks.wall, lambda: 7.0)
    await again.write("a", 1, [CloseRows(at=NOW + 9)], ENGINE)
    assert (await again.rows(Query()))[0].recovery_s == 9.0
    later = Ledger(database, lambda: clocks.wall, lambda: 7.0)
    await later.write("a", 1, [loss(at=NOW + 20)], ENGINE)
    await ledger.write("a", 1, [CloseRows(at=NOW)], ENGINE)
    assert (await later.rows(Query()))[1].recovery_s == 0.0


async def test_a_later_signal_refines_the_last_row_only(ledger: Ledger) -> None:
    await ledger.write("a", 1, [loss(), loss(at=NOW + 5)], ENGINE)
    refined = RefineRow(reason=DisconnectReason.DEVICE_REMOVED, signal="logged_out", code=401, raw="<conflict/>")
    await ledger.write("a", 1, [refined], ENGINE)
    reasons = [row.reason for row in await ledger.rows(Query())]
    assert reasons == ["socket_closed", "device_removed"]


async def test_rows_are_written_with_the_callers_transaction_or_not_at_all(ledger: Ledger, database: Database) -> None:
    async def interrupted() -> None:
        async with database.transaction() as connection:
            await ledger.apply(connection, "a", 1, [loss()], ENGINE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await interrupted()
    assert await ledger.rows(Query()) == []


async def test_queries_and_pages(ledger: Ledger) -> None:
    for number in range(5):
        await ledger.write("a" if number % 2 else "b", 1, [loss(at=NOW + number)], ENGINE)
    first = await ledger.page(Query(), 2)
    assert [row.at - NOW for row in first.items] == [4, 3]
    second = await ledger.page(Query(before=first.next), 2)
    assert [row.at - NOW for row in second.items] == [2, 1]
    last = await ledger.page(Query(before=second.next), 2)
    assert ([row.at - NOW for row in last.items], last.next) == ([0], None)
    assert [row.at - NOW for row in await ledger.rows(Query(session="a"))] == [1, 3]
    assert [row.at - NOW for row in await ledger.rows(Query(since=NOW + 1, until=NOW + 3))] == [1, 2]
    assert await ledger.rows(Query(reason=DisconnectReason.CRASH)) == []
    assert await ledger.losses(NOW + 4) == [("b", DisconnectReason.SOCKET_CLOSED, NOW + 4)]


async def test_retention(ledger: Ledger) -> None:
    await ledger.write("a", 1, [loss(at=NOW - 10), loss(at=NOW)], ENGINE)
    assert await ledger.prune(NOW) == 1
    assert [row.at for row in await ledger.rows(Query())] == [NOW]


async def test_rows_of_older_releases_are_shown(ledger: Ledger, database: Database) -> None:
    await database.execute(
        "INSERT INTO disconnections (session, generation, at, reason, connected_at, back_at) "
        "VALUES ('a', 1, ?, 'of_another_release', ?, ?)",
        (NOW, NOW - 7, NOW + 2),
    )
    (row,) = await ledger.rows(Query())
    assert (row.reason, row.text, row.uptime_s, row.recovery_s) == ("of_another_release", "", 7.0, 2.0)
    assert await ledger.losses(0) == []
