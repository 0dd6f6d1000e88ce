"""Starts are staggered, an outage lets one canary through at a time, and one login lets everybody in again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sessions.breaker import BreakerState, FleetGate
from appliance.sessions.reasons import REASONS, DisconnectReason
from appliance.sessions.settings import FleetSettings

R = DisconnectReason
SETTINGS = FleetSettings()
NOW = 1000.0


def drain(gate: FleetGate, start: float, end: float) -> list[tuple[float, str]]:
    """Everybody whom the gate lets start, asked at the moments that it names itself."""
    now, started = start, []
    while now <= end:
        turn = gate.take(now)
        if turn.session is not None:
            started.append((now, turn.session))
            continue
        wake = gate.wake_at()
        if wake is None:
            break
        now = max(wake, now + 1e-6)
    return started


def outage(gate: FleetGate, now: float = NOW, fleet: int = 10) -> None:
    for number in range(max(SETTINGS.outage_minimum, fleet)):
        if gate.lost(f"s{number}", R.SOCKET_CLOSED, fleet, now, 0.0):
            return
    raise AssertionError("no outage")


def test_sixty_start_in_fifteen_seconds_and_never_more_than_four_a_second() -> None:
    gate = FleetGate(SETTINGS)
    for number in range(60):
        gate.ask(f"s{number}")
        gate.ask(f"s{number}")
    started = drain(gate, NOW, NOW + 60)
    assert [name for _, name in started] == [f"s{number}" for number in range(60)]
    assert started[-1][0] - NOW == pytest.approx(59 / 4)
    for at, _ in started:
        assert sum(at <= other < at + 1 - 1e-9 for other, _ in started) <= 4


def test_a_session_that_starts_alone_does_not_wait() -> None:
    gate = FleetGate(SETTINGS)
    gate.ask("a")
    assert gate.take(NOW).session == "a"
    assert gate.wake_at() is None


def test_who_cancelled_does_not_start() -> None:
    gate = FleetGate(SETTINGS)
    gate.ask("a")
    gate.ask("b")
    gate.cancel("a")
    assert gate.take(NOW).session == "b"


@pytest.mark.parametrize(("fleet", "needed"), [(2, 3), (9, 3), (10, 3), (20, 6), (60, 18)])
def test_an_outage_needs_a_share_of_the_fleet_and_at_least_three(fleet: int, needed: int) -> None:
    gate = FleetGate(SETTINGS)
    opened = [gate.lost(f"s{number}", R.SOCKET_CLOSED, fleet, NOW + number, 0.0) for number in range(needed)]
    assert opened == [False] * (needed - 1) + [True]
    assert gate.state is BreakerState.OUTAGE


def test_what_many_have_at_once_is_nobodys_own_although_all_are_back_at_once() -> None:
    gate = FleetGate(SETTINGS)
    for number in range(17):
        gate.lost(f"s{number}", R.SERVER_ERROR, 60, NOW + number / 10, 0.0)
        gate.logged_in(f"s{number}")
        assert gate.common(60, NOW + number / 10) == []
    gate.lost("s17", R.SERVER_ERROR, 60, NOW + 2, 0.0)
    assert not gate.open
    assert gate.common(60, NOW + 2) == [f"s{number}" for number in range(18)]
    assert gate.common(60, NOW + 2) == []
    gate.lost("s3", R.SOCKET_CLOSED, 60, NOW + 3, 0.0)
    assert gate.common(60, NOW + 3) == ["s3"]
    gate.lost("s4", R.SOCKET_CLOSED, 60, NOW + 100, 0.0)
    assert gate.common(60, NOW + 100) == []


def test_losses_that_lie_apart_or_were_healed_are_no_outage() -> None:
    gate = FleetGate(SETTINGS)
    for number in range(10):
        assert not gate.lost(f"s{number}", R.SOCKET_CLOSED, 10, NOW + 31 * number, 0.0)
    gate = FleetGate(SETTINGS)
    for number in range(10):
        assert not gate.lost(f"s{number}", R.SOCKET_CLOSED, 10, NOW, 0.0)
        gate.logged_in(f"s{number}")
    gate = FleetGate(SETTINGS)
    for _ in range(10):
        assert not gate.lost("one", R.SOCKET_CLOSED, 10, NOW, 0.0)


@pytest.mark.parametrize("reason", [reason for reason in R if not REASONS[reason].outage and reason is not R.OUTDATED])
def test_what_is_a_sessions_own_trouble_is_no_outage(reason: DisconnectReason) -> None:
    gate = FleetGate(SETTINGS)
    for number in range(10):
        assert not gate.lost(f"s{number}", reason, 10, NOW, 0.0)


def test_one_canary_at_a_time_with_growing_pauses_and_not_always_the_same() -> None:
    gate = FleetGate(SETTINGS)
    outage(gate)
    for number in range(10):
        gate.ask(f"s{number}")
    now, canaries, pauses = NOW, [], []
    for _ in range(8):
        assert gate.take(now).session is None
        wake = gate.wake_at()
        assert wake is not None
        pauses.append(wake - now)
        now = wake
        canary = gate.take(now).session
        assert canary is not None
        canaries.append(canary)
        assert gate.take(now + 1e6).session is None
        assert gate.wake_at() is None
        assert not gate.lost(canary, R.DIAL_FAILED, 10, now, 1.0)
        gate.ask(canary)
    assert all(first != second for first, second in itertools.pairwise(canaries))
    assert len(set(canaries)) == 8
    assert pauses == [1, 4, 8, 16, 32, 60, 60, 60]


def test_any_login_lets_everybody_in() -> None:
    gate = FleetGate(SETTINGS)
    outage(gate)
    for number in range(10):
        gate.ask(f"s{number}")
    assert gate.logged_in("somebody")
    assert not gate.logged_in("somebody")
    assert len(drain(gate, NOW, NOW + 10)) == 10


def test_a_canary_that_stops_makes_room_for_another() -> None:
    gate = FleetGate(SETTINGS)
    outage(gate)
    gate.ask("a")
    gate.ask("b")
    now = gate.wake_at() or 0
    assert gate.take(now).session == "a"
    gate.forget("a", now, 0.0)
    later = gate.wake_at()
    assert later is not None
    assert gate.take(later).session == "b"


def test_nobody_asks_so_somebody_is_to_be_woken() -> None:
    gate = FleetGate(SETTINGS)
    outage(gate)
    now = gate.wake_at() or 0
    assert gate.take(now).wanted
    assert not gate.take(now).wanted
    gate.canary_asks("a", now)
    assert gate.take(now).session == "a"


def test_an_outdated_engine_stops_all_starts_and_is_tried_after_hours() -> None:
    gate = FleetGate(SETTINGS)
    assert gate.lost("a", R.OUTDATED, 10, NOW, 0.0)
    assert gate.state is BreakerState.OUTDATED
    gate.ask("b")
    assert gate.take(NOW + 1).session is None
    assert (gate.wake_at() or 0) - NOW == SETTINGS.outdated_canary_base_s / 2
    for number in range(10):
        gate.lost(f"s{number}", R.SOCKET_CLOSED, 10, NOW, 0.0)
    assert gate.state is BreakerState.OUTDATED
    now = gate.wake_at() or 0
    assert gate.take(now).session == "b"
    assert not gate.lost("b", R.OUTDATED, 10, now, 1.0)
    assert (gate.wake_at() or 0) - now == SETTINGS.outdated_canary_base_s * 2
    assert gate.logged_in("c")
    assert gate.state is BreakerState.CLOSED


def test_a_new_daemon_tries_an_outdated_engine_at_once() -> None:
    gate = FleetGate(SETTINGS)
    gate.resume_outdated(NOW)
    assert gate.take(NOW).wanted


def test_who_asks_need_not_wait_for_hours_to_know_whether_an_engine_is_still_refused() -> None:
    gate = FleetGate(SETTINGS)
    gate.lost("a", R.OUTDATED, 10, NOW, 0.0)
    gate.ask("b")
    gate.try_now(NOW + 1)
    assert gate.take(NOW + 1).session == "b"
    gate.ask("c")
    gate.try_now(NOW + 1)
    assert gate.take(NOW + 1).session is None, "one at a time"
    gate.lost("b", R.OUTDATED, 10, NOW + 2, 0.0)
    assert gate.take(NOW + 2).session == "c"
    gate.lost("c", R.OUTDATED, 10, NOW + 3, 0.0)
    gate.ask("d")
    assert gate.take(NOW + 3).session is None, "and then as before"


def test_an_outage_is_not_tried_oftener_because_somebody_asks() -> None:
    gate = FleetGate(SETTINGS)
    outage(gate)
    due = gate.wake_at()
    gate.try_now(NOW)
    assert gate.wake_at() == due


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["try", "ask", "cancel", "lost", "login", "outdated", "forget", "take"]),
            st.integers(0, 7),
            st.floats(0, 20),
            st.floats(0, 1, exclude_max=True),
        ),
        max_size=150,
    )
)
def test_never_a_rush_and_never_two_canaries(steps: list[tuple[str, int, float, float]]) -> None:
    gate, now, started = FleetGate(SETTINGS), NOW, []
    running: set[str] = set()
    for what, number, pause, chance in steps:
        now += pause
        session = f"s{number}"
        match what:
            case "try":
                gate.try_now(now)
            case "ask":
                gate.ask(session)
            case "cancel":
                gate.cancel(session)
            case "lost" | "outdated":
                running.discard(session)
                gate.lost(session, R.OUTDATED if what == "outdated" else R.SOCKET_CLOSED, 8, now, chance)
            case "login":
                gate.logged_in(session)
            case "forget":
                running.discard(session)
                gate.forget(session, now, chance)
            case "take":
                was_open, canary = gate.open, gate.canary
                turn = gate.take(now)
                if turn.session is not None:
                    started.append(now)
                    if was_open:
                        assert canary is None
                        assert gate.canary == turn.session
                        assert gate.take(now).session is None
    for at in started:
        assert sum(at <= other < at + 1 for other in started) <= 4 + 2  # and a canary before and after
