"""The audit of the ledger sees what is missing and what is too much, also when the clock was set."""

from __future__ import annotations

from appliance.bench.chaos_ledger import Connection, audit, connections, recoveries
from appliance.bench.chaos_plan import Trouble
from appliance.bench.chaos_strikes import Step, Strike
from appliance.model_history import Disconnection
from appliance.staging.control_types import JournalEntry, JournalKind

ACCOUNTS = {"a": "22177"}
STILL = [Step(at=0.0, offset=0.0)]


def connection(number: int, login_at: float, closed_at: float | None, ready: bool = True) -> Connection:
    return Connection(
        number=number, login_at=login_at, ready_at=login_at + 0.01 if ready else None, closed_at=closed_at
    )


def row(number: int, connected_at: float, session: str = "a") -> Disconnection:
    return Disconnection(
        id=number,
        session=session,
        at=connected_at + 5,
        reason="socket_closed",
        text="",
        signal="disconnected",
        code=None,
        raw="",
        uptime_s=5.0,
        connected_at=connected_at,
        decision="redial",
        charged=False,
        back_at=None,
        recovery_s=None,
        engine="",
        whatsapp="",
    )


def test_one_row_for_each_loss_is_right() -> None:
    logins = {"22177": [connection(1, 100, 110), connection(2, 112, 130), connection(3, 131, None)]}
    found = audit(logins, {"a": [row(1, 100.2), row(2, 112.2)]}, ACCOUNTS, STILL)
    assert (found.missing, found.extra, found.undecided) == ([], [], 0)
    assert found.counted == found.rows == 2


def test_a_loss_without_a_row_is_missing() -> None:
    logins = {"22177": [connection(1, 100, 110), connection(2, 112, 130)]}
    found = audit(logins, {"a": [row(1, 112.2)]}, ACCOUNTS, STILL)
    assert [text.split(":")[0] for text in found.missing] == ["a connection 1"]
    assert not found.extra


def test_a_second_row_for_one_loss_and_one_for_a_living_connection_are_too_much() -> None:
    logins = {"22177": [connection(1, 100, 110), connection(2, 112, None)]}
    found = audit(logins, {"a": [row(1, 100.2), row(2, 100.2), row(3, 112.2)]}, ACCOUNTS, STILL)
    assert [text.split(":")[0] for text in found.extra] == ["a row 2", "a row 3"]


def test_two_losses_within_a_tenth_of_a_second_are_told_apart() -> None:
    """A worker hears of a login that was lost at once when the next one has all but begun."""
    logins = {"22177": [connection(1, 100.55, 100.58), connection(2, 100.68, 101.03)]}
    found = audit(logins, {"a": [row(1, 100.63), row(2, 100.71)]}, ACCOUNTS, STILL)
    assert (found.missing, found.extra) == ([], [])
    early = audit(logins, {"a": [row(1, 100.63), row(2, 100.67)]}, ACCOUNTS, STILL)
    assert not early.extra


def test_a_connection_that_was_killed_within_a_moment_may_have_a_row_or_none() -> None:
    logins = {"22177": [connection(1, 100, 100.3), connection(2, 200, 201, ready=False)]}
    assert audit(logins, {}, ACCOUNTS, STILL).undecided == 2
    silent = Connection(number=3, login_at=300, ready_at=300.1, closed_at=310, heard=False)
    assert audit({"22177": [silent]}, {}, ACCOUNTS, STILL).undecided == 1
    with_rows = audit(logins, {"a": [row(1, 100.1), row(2, 200.5)]}, ACCOUNTS, STILL)
    assert (with_rows.missing, with_rows.extra, with_rows.undecided) == ([], [], 0)


def test_rows_are_found_again_through_steps_of_the_clock() -> None:
    steps = [*STILL, Step(at=105.0, offset=-7200.0), Step(at=140.0, offset=900.0)]
    logins = {"22177": [connection(1, 100, 110), connection(2, 112, 130), connection(3, 150, 160)]}
    rows = {"a": [row(1, 100.2), row(2, 112.2 - 7200), row(3, 150.2 + 900)]}
    found = audit(logins, rows, ACCOUNTS, steps)
    assert (found.missing, found.extra) == ([], [])
    wrong = audit(logins, {"a": [row(1, 100.2), row(2, 112.2), row(3, 150.2 + 900)]}, ACCOUNTS, steps)
    assert len(wrong.missing) == len(wrong.extra) == 1


def test_recovery_begins_with_the_strike_that_killed_the_connection_unseen() -> None:
    logins = {"22177": [connection(1, 100, 140), connection(2, 142, 150), connection(3, 151, None)]}
    stalled = Strike(at=110.0, trouble=Trouble.SOCKETS_STALLED, targets=["a"])
    elsewhere = Strike(at=145.0, trouble=Trouble.SOCKETS_RESET, targets=["a"])
    found = recoveries(logins, ACCOUNTS, [stalled, elsewhere], 60.0)
    assert [round(one.seconds, 2) for one in found] == [32.01, 1.01]
    assert [one.because for one in found] == [["+0 s sockets_stalled "], []]


def test_nobody_can_be_back_while_the_server_is_gone() -> None:
    logins = {"22177": [connection(1, 100, 200), connection(2, 290, 400), connection(3, 401, None)]}
    everybody = Strike(at=199.5, trouble=Trouble.SERVER_GONE, targets=[])
    again = Strike(at=230.0, trouble=Trouble.SERVER_GONE, targets=["a"])
    other = Strike(at=240.0, trouble=Trouble.SERVER_GONE, targets=["b"])
    found = recoveries(logins, ACCOUNTS, [everybody, again, other], 60.0)
    assert [(round(one.seconds), round(one.gone_s), round(one.own_s)) for one in found] == [(90, 90, 0), (1, 0, 1)]
    third = recoveries(logins, ACCOUNTS, [everybody], 60.0)
    assert [round(one.own_s, 1) for one in third] == [30.5, 1.0]


def test_connections_are_read_from_the_journal() -> None:
    def entry(seq: int, kind: JournalKind, **data: str | int | float | bool) -> JournalEntry:
        return JournalEntry(
            seq=seq, at=float(seq), kind=kind, account="22177", device=1, data={"connection": 9, **data}
        )

    journal = [
        JournalEntry(
            seq=1, at=1.0, kind=JournalKind.LOGIN, account="22177", data={"connection": 8, "answer": "failure"}
        ),
        entry(2, JournalKind.LOGIN, answer="success"),
        entry(3, JournalKind.READY),
        entry(4, JournalKind.CLOSED, ready=True),
    ]
    assert connections(journal) == {"22177": [Connection(number=9, login_at=2.0, ready_at=3.0, closed_at=4.0)]}
