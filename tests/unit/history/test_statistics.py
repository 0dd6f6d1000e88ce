"""Figures of the ledger against their definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history import statistics
from appliance.model_history import Disconnection


def row(
    at: float = 0.0,
    reason: str = "socket_closed",
    decision: str = "redial",
    recovery_s: float | None = 1.0,
    session: str = "a",
) -> Disconnection:
    return Disconnection(
        id=1,
        session=session,
        at=at,
        reason=reason,
        text="",
        signal="",
        code=None,
        raw="",
        uptime_s=1.0,
        connected_at=None,
        decision=decision,
        charged=False,
        back_at=None,
        recovery_s=recovery_s,
        engine="",
        whatsapp="",
    )


values = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=60).map(sorted)


@given(values, st.floats(min_value=0, max_value=100))
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(ordered: list[float], percent: float) -> None:
    found = statistics.percentile(ordered, percent)
    assert found in ordered
    needed = percent / 100 * len(ordered)
    reached = [value for value in ordered if sum(other <= value for other in ordered) >= needed - 1e-9]
    assert found == reached[0]


def test_percentile_of_a_hundred() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert [statistics.percentile(ordered, percent) for percent in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert statistics.percentile([], 50) is None


def test_recovery_counts_only_what_came_back_by_itself() -> None:
    rows = [
        row(recovery_s=1.0),
        row(recovery_s=3.0, decision="restart"),
        row(recovery_s=None, decision="cool"),
        row(recovery_s=86_400.0, decision="never", reason="device_removed"),
        row(recovery_s=900.0, decision="restart", reason="restarted"),
    ]
    found = statistics.recovery_of(rows)
    assert (found.count, found.p50_s, found.p99_s, found.open) == (2, 1.0, 3.0, 1)


@given(
    since=st.integers(min_value=0, max_value=10**6),
    length=st.integers(min_value=0, max_value=10**6),
    ages=st.lists(st.floats(min_value=0, max_value=1), max_size=50),
)
def test_every_loss_is_in_exactly_one_hour(since: int, length: int, ages: list[float]) -> None:
    rows = [row(at=since + age * length) for age in ages]
    found = statistics.by_hour(rows, since, since + length)
    assert sum(hour.count for hour in found) == len(rows)
    assert [hour.start for hour in found] == [found[0].start + 3600 * number for number in range(len(found))]
    assert found[0].start <= since < found[0].start + 3600
    for hour in found:
        assert hour.count == sum(hour.start <= one.at < hour.start + 3600 for one in rows)


def test_long_periods_are_not_counted_by_hour_without_end() -> None:
    found = statistics.by_hour([], 0, 10 * 365 * 86_400)
    assert len(found) == statistics.HOURS_MAX


def test_stats_leave_out_what_somebody_asked_for() -> None:
    rows = [row(at=10), row(at=20, reason="crash"), row(at=30, reason="stopped"), row(at=40, session="b")]
    shares = {"a": (1.0, 0.9, 0.8), "b": (None, None, None), "c": (0.5, 0.5, 0.5)}
    stats = statistics.history_stats(rows, 0, 100, shares, {"a": 80.0, "b": 20.0, "c": 50.0})
    assert (stats.total, stats.asked) == (3, 1)
    assert [(one.reason, one.count) for one in stats.by_reason] == [("socket_closed", 2), ("crash", 1)]
    assert stats.by_reason[0].text
    assert [(one.session, one.disconnections, one.mean_between_s) for one in stats.sessions] == [
        ("a", 2, 40.0),
        ("b", 1, 20.0),
        ("c", 0, None),
    ]
    assert stats.mean_between_s == pytest.approx(50.0)
