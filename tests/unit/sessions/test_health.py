"""Old evidence causes doubt, proofs condemn, and no step of the wall clock does either."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.protocol import EngineState, Heartbeat
from appliance.sessions.health import Evidence, Health, Verdict, judge
from appliance.sessions.reasons import DisconnectReason
from appliance.sessions.settings import MIB, KeepaliveSettings

SETTINGS = KeepaliveSettings()
OURS = 5000.0
THEIRS = 1_700_000_000.0


def beat(
    at: float = 0.0,
    *,
    frame: float | None = None,
    ping: float | None = None,
    pong: float | None = None,
    lag: float = 0.0,
    pss: int = 12 * MIB,
) -> Heartbeat:
    """A heartbeat `at` seconds after the login; the other times are on the same scale."""
    wall = [None if value is None else THEIRS + value for value in (frame, ping, pong)]
    return Heartbeat(
        at=THEIRS + at,
        engine_state=EngineState.CONNECTED,
        loop_lag_s=lag,
        pss_bytes=pss,
        last_frame_at=wall[0],
        last_message_at=None,
        ping_sent_at=wall[1],
        ping_answered_at=wall[2],
        inbox=0,
    )


def evidence(*beats: Heartbeat, online: bool = True, **more: float) -> Evidence:
    found = Evidence(greeted_at=OURS, online_at=OURS if online else None, **more)
    for heartbeat in beats:
        found.hear(heartbeat, SETTINGS, OURS + heartbeat.at - THEIRS)
    return found


def verdict(found: Evidence, at: float) -> Verdict:
    return judge(found, SETTINGS, OURS + at)


def test_a_living_connection() -> None:
    good = verdict(evidence(beat(30, frame=28, ping=27, pong=28)), 31)
    assert good.health is Health.GOOD
    assert good.check_in_s == SETTINGS.check_interval_s


def test_evidence_older_than_35_s_is_doubted_at_that_moment() -> None:
    found = evidence(beat(30, frame=0), beat(34.9, frame=0))
    good = verdict(found, 34.9)
    assert good.health is Health.GOOD
    assert good.check_in_s == pytest.approx(0.1, abs=1e-3)
    assert verdict(found, 35).health is Health.DOUBTFUL


def test_a_ping_is_overdue_after_5_s_without_waiting_for_another_report() -> None:
    found = evidence(beat(30, frame=12, ping=29, pong=1))
    early = verdict(found, 33)
    assert early.health is Health.GOOD
    assert early.check_in_s == pytest.approx(1.0)
    assert verdict(found, 34).health is Health.DOUBTFUL


def test_an_answered_ping_or_probe_ends_the_doubt() -> None:
    assert verdict(evidence(beat(30, frame=29, ping=20, pong=21)), 31).health is Health.GOOD
    assert verdict(evidence(beat(30, frame=1, ping=20, pong=1), probed_at=OURS + 27), 31).health is Health.GOOD
    assert verdict(evidence(beat(30, frame=1, ping=28.5, pong=1), probed_at=OURS + 27), 34).health is Health.DOUBTFUL


def test_a_ping_before_the_present_login_means_nothing() -> None:
    assert verdict(evidence(beat(10, frame=1, ping=-20, pong=-50)), 11).health is Health.GOOD


def test_without_a_login_old_evidence_means_nothing() -> None:
    assert verdict(evidence(beat(100, frame=0), online=False), 101).health is Health.GOOD


def test_a_silent_process_is_condemned() -> None:
    assert verdict(evidence(), 19.9).health is Health.GOOD
    dead = verdict(evidence(), 20)
    assert (dead.health, dead.reason) == (Health.DEAD, DisconnectReason.PROCESS_SILENT)
    assert verdict(evidence(beat(50, frame=50)), 69.9).health is Health.GOOD
    assert verdict(evidence(beat(50, frame=50)), 70).reason is DisconnectReason.PROCESS_SILENT


def test_a_blocked_loop_is_condemned_after_three_late_reports() -> None:
    late = [beat(5.0 * number, frame=5.0 * number, lag=4.5) for number in (1, 2, 3)]
    assert verdict(evidence(*late[:2]), 11).health is Health.GOOD
    assert verdict(evidence(*late), 16).reason is DisconnectReason.LOOP_BLOCKED
    healed = [*late[:2], beat(15, frame=15), late[0]]
    assert verdict(evidence(*healed), 16).health is Health.GOOD


def test_memory_warns_at_the_soft_limit_and_condemns_at_the_hard_one_with_patience() -> None:
    def after(pss: int, reports: int) -> Verdict:
        beats = [beat(5.0 * number, frame=5.0 * number, pss=pss) for number in range(1, reports + 1)]
        return verdict(evidence(*beats), 5.0 * reports)

    soft, hard = SETTINGS.memory_soft_bytes + 1, SETTINGS.memory_hard_bytes + 1
    patience = SETTINGS.memory_patience
    assert after(soft, patience - 1).warning is None
    assert after(soft, patience).warning is DisconnectReason.MEMORY
    assert after(soft, patience).health is Health.GOOD
    assert after(hard, patience - 1).health is Health.GOOD
    assert after(hard, patience).reason is DisconnectReason.MEMORY


@given(st.floats(-1e6, 1e6))
def test_a_step_of_the_wall_clock_condemns_nobody(step: float) -> None:
    """Frame and ping were stamped before the step, the report after it: at worst a probe finds out."""
    found = evidence(beat(30, frame=29, ping=28, pong=29))
    stepped = beat(35 + step, frame=29, ping=28, pong=29)
    found.hear(stepped, SETTINGS, OURS + 35)
    assert verdict(found, 35).health is not Health.DEAD


def test_a_clock_set_back_does_not_hide_a_stall() -> None:
    found = evidence(beat(30, frame=29))
    found.hear(beat(-3000, frame=29), SETTINGS, OURS + 40)
    assert verdict(found, 40).health is Health.DOUBTFUL


@given(
    st.floats(0, 200),
    st.one_of(st.none(), st.floats(0, 200)),
    st.one_of(st.none(), st.floats(0, 200)),
    st.one_of(st.none(), st.floats(0, 200)),
    st.floats(0, 60),
)
def test_a_verdict_names_the_next_moment(
    at: float, frame: float | None, ping: float | None, pong: float | None, later: float
) -> None:
    found = evidence(beat(at, frame=frame, ping=ping, pong=pong))
    now = verdict(found, at + later)
    assert 0 <= now.check_in_s <= SETTINGS.check_interval_s
    if now.health is Health.GOOD and now.check_in_s > 0:
        assert verdict(found, at + later + now.check_in_s * 0.99).health is Health.GOOD
