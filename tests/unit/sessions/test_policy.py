"""Every row of the design's table as the policy sees it, its numbers, and that no history makes it retry for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import SessionState
from appliance.sessions.policy import HOUR_S, Action, Decision, Failure, History, decide, forgive, is_charged
from appliance.sessions.reasons import FINAL_STATES, REASONS, Charge, DisconnectReason
from appliance.sessions.settings import ReconnectSettings

R = DisconnectReason
S = ReconnectSettings()
NOW = 1_000_000.0


def judge(
    reason: R, history: History | None = None, *, now: float = NOW, chance: float = 0.5, **more: object
) -> Decision:
    return decide(Failure(reason=reason, **more), history or History(), S, now, chance)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", [R.SOCKET_CLOSED, R.SERVER_ERROR])
def test_a_transient_loss_is_left_to_the_engine(reason: R) -> None:
    decision = judge(reason, uptime_s=3600, redialing=True)
    assert decision.action is Action.REDIAL
    assert not decision.charged
    assert decision.delay_s is None


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (R.REPLACED, SessionState.REPLACED),
        (R.DEVICE_REMOVED, SessionState.NEEDS_PAIRING),
        (R.ACCOUNT_LOCKED, SessionState.NEEDS_PAIRING),
        (R.ACCOUNT_BANNED, SessionState.BANNED),
        (R.OUTDATED, SessionState.OUTDATED),
    ],
)
def test_what_is_never_retried(reason: R, state: SessionState) -> None:
    decision = judge(reason, uptime_s=10, redialing=True)
    assert (decision.action, decision.state, decision.delay_s) == (Action.NEVER, state, None)
    assert not decision.charged


def test_a_temporary_ban_is_slept_out_with_a_margin() -> None:
    for chance in (0.0, 0.99):
        decision = judge(R.TEMPORARY_BAN, ban_s=3600, chance=chance)
        assert decision.action is Action.SLEEP
        assert decision.state is SessionState.BANNED
        assert decision.delay_s is not None
        assert 3600 + S.ban_margin_s <= decision.delay_s <= 3600 + 2 * S.ban_margin_s
    unnamed = judge(R.TEMPORARY_BAN, ban_s=None)
    assert unnamed.delay_s is not None
    assert unnamed.delay_s >= S.ban_default_s


@pytest.mark.parametrize(
    ("reason", "uptime", "charged"),
    [
        (R.LOGIN_CLOSED, None, True),
        (R.UNKNOWN_REFUSAL, None, True),
        (R.SOCKET_CLOSED, 59.0, True),
        (R.SOCKET_CLOSED, 60.0, False),
        (R.SERVER_ERROR, 5.0, True),
        (R.SERVER_ERROR, 500.0, False),
        (R.CRASH, 59.0, True),
        (R.CRASH, None, True),
        (R.CRASH, 61.0, False),
        (R.DIAL_FAILED, None, False),
        (R.LOGIN_TIMEOUT, None, False),
        (R.HALF_OPEN, 5.0, False),
        (R.PROCESS_SILENT, 5.0, False),
        (R.LOOP_BLOCKED, 5.0, False),
        (R.MEMORY, 5.0, False),
        (R.FORK_SERVER_LOST, 5.0, False),
        (R.RESTARTED, 5.0, False),
    ],
)
def test_what_is_charged(reason: R, uptime: float | None, charged: bool) -> None:
    assert is_charged(Failure(reason=reason, uptime_s=uptime), S) is charged
    assert not is_charged(Failure(reason=reason, uptime_s=uptime, excused=True), S)


def test_the_first_retry_after_a_stable_connection_is_at_once() -> None:
    assert judge(R.HALF_OPEN, uptime_s=100).delay_s == 0
    assert judge(R.HALF_OPEN, uptime_s=100, history=History(failures=3)).delay_s == 4


def test_full_jitter_doubles_up_to_the_cap_and_resets_after_ten_minutes() -> None:
    history = History()
    for step in range(20):
        decision = judge(R.DIAL_FAILED, history, chance=1.0)
        assert decision.action is Action.RESTART
        assert decision.delay_s == min(60, 2.0**step)
        history = decision.history
    assert judge(R.DIAL_FAILED, history, chance=0.0).delay_s == 0


def test_failures_of_its_own_count_until_it_was_online_for_ten_minutes() -> None:
    history = History()
    for step in range(20):
        decision = judge(R.MEMORY, history, uptime_s=10, chance=1.0)
        assert decision.delay_s == min(300, 2.0**step)
        history = decision.history
    assert judge(R.HALF_OPEN, history, uptime_s=599, chance=1.0).delay_s == 300
    assert judge(R.HALF_OPEN, history, uptime_s=600, chance=1.0).delay_s == 0


def test_a_login_proves_that_what_was_in_the_way_of_dials_is_gone() -> None:
    history = History()
    for reason in (R.DIAL_FAILED, R.LOGIN_TIMEOUT, R.PROXY_UNUSABLE) * 3:
        history = judge(reason, history).history
    history = judge(R.LOGIN_CLOSED, history, excused=True).history
    assert judge(R.SERVER_ERROR, history, chance=1.0).delay_s == 300
    assert judge(R.PROCESS_SILENT, history, uptime_s=5, chance=1.0).delay_s == 1


def test_after_the_fork_servers_death_all_are_back_at_once_however_often() -> None:
    history = judge(R.MEMORY, History(failures=8, dials=4), uptime_s=3).history
    for _ in range(5):
        decision = judge(R.FORK_SERVER_LOST, history, uptime_s=3, chance=1.0)
        assert decision.delay_s == S.backoff_base_s
        history = decision.history
    assert history.failures == 9


def test_five_charged_failures_an_hour_then_cooling_that_doubles_to_four_hours() -> None:
    history, now = History(), NOW
    for _ in range(4):
        decision = judge(R.LOGIN_CLOSED, history, now=now)
        assert decision.action is Action.RESTART
        history, now = decision.history, now + 10
    pauses = []
    for _ in range(7):
        decision = judge(R.LOGIN_CLOSED, history, now=now)
        while decision.action is not Action.COOL:  # the hour may have passed meanwhile
            history, now = decision.history, now + 10
            decision = judge(R.LOGIN_CLOSED, history, now=now)
        assert decision.state is SessionState.COOLING
        assert decision.delay_s is not None
        pauses.append(decision.delay_s)
        history, now = decision.history, now + decision.delay_s
    assert pauses == [900, 1800, 3600, 7200, 14_400, 14_400, 14_400]


def test_cooling_starts_anew_after_ten_minutes_online() -> None:
    history = History(charged=(NOW - 30,) * 4, coolings=4)
    assert judge(R.LOGIN_CLOSED, history).delay_s == 14_400
    after = judge(R.SOCKET_CLOSED, history, uptime_s=600, redialing=True).history
    assert judge(R.LOGIN_CLOSED, after).delay_s == 900


def test_old_charges_are_forgotten_after_an_hour() -> None:
    history = History(charged=(NOW - HOUR_S,) * 10, episode=10)
    assert judge(R.LOGIN_CLOSED, history).history.charged == (NOW,)


def test_a_clock_set_back_grants_nothing() -> None:
    history = History(charged=(NOW + 5000,) * 4)
    assert judge(R.LOGIN_CLOSED, history).action is Action.COOL


def test_a_fault_healed_at_the_first_try_is_not_charged() -> None:
    once = judge(R.LOGIN_CLOSED).history
    assert len(once.charged) == 1
    healed = judge(R.SOCKET_CLOSED, once, now=NOW + 100, uptime_s=90, redialing=True).history
    assert healed.charged == ()
    twice = judge(R.LOGIN_CLOSED, once, now=NOW + 1).history
    kept = judge(R.SOCKET_CLOSED, twice, now=NOW + 100, uptime_s=90, redialing=True).history
    assert len(kept.charged) == 2


def test_five_charged_crashes_in_ten_minutes_are_a_failed_session() -> None:
    history, decision = History(), None
    for number in range(5):
        decision = judge(R.CRASH, history, now=NOW + 100 * number, uptime_s=5)
        history = decision.history
    assert decision is not None
    assert (decision.action, decision.state) == (Action.FAIL, SessionState.FAILED)
    slow = History()
    for number in range(5):
        decision = judge(R.CRASH, slow, now=NOW + 160 * number, uptime_s=5)
        slow = decision.history
    assert decision.action is Action.COOL


def test_few_tries_after_an_unknown_refusal() -> None:
    history = History()
    for _ in range(S.unknown_tries - 1):
        decision = judge(R.UNKNOWN_REFUSAL, history)
        assert decision.action is Action.RESTART
        history = decision.history
    assert judge(R.UNKNOWN_REFUSAL, history).action is Action.COOL


def test_an_operators_start_gives_one_attempt_not_a_new_budget() -> None:
    history = forgive(History(charged=(NOW,) * 5, crashes=(NOW,) * 5, failures=9, coolings=2))
    assert judge(R.LOGIN_CLOSED, history).delay_s == 3600
    assert judge(R.CRASH, History(charged=(), crashes=history.crashes), uptime_s=1).action is Action.RESTART


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(R)),
            st.one_of(st.none(), st.floats(0, 59)),
            st.floats(0, 1, exclude_max=True),
            st.floats(0, 5),
        ),
        min_size=1,
        max_size=120,
    )
)
def test_charged_attempts_are_bounded_whatever_happens(steps: list[tuple[R, float | None, float, float]]) -> None:
    """Without a connection that holds, no hour has more than five charged attempts and one for each pause that ended;
    and an uncharged one waits as its backoff says."""
    history, now, charged_at, coolings = History(), NOW, [], []
    for reason, uptime, chance, extra in steps:
        decision = decide(Failure(reason=reason, uptime_s=uptime), history, S, now, chance)
        history = decision.history
        if decision.charged:
            charged_at.append(now)
        if decision.action is Action.COOL:
            coolings.append(now)
            assert decision.delay_s is not None
            assert decision.delay_s >= S.cooling_base_s
        if decision.action in (Action.NEVER, Action.FAIL):
            assert decision.delay_s is None
            break
        if decision.action is Action.RESTART:
            assert decision.delay_s is not None
            assert 0 <= decision.delay_s <= S.backoff_cap_s
        now += (decision.delay_s or 0) + extra
    for at in charged_at:
        within = [other for other in charged_at if at <= other < at + HOUR_S]
        pauses = [other for other in coolings if at <= other < at + HOUR_S]
        assert len(within) <= S.attempts_per_hour + len(pauses)


@pytest.mark.parametrize("reason", [R.DIAL_FAILED, R.LOGIN_TIMEOUT, R.PROXY_UNUSABLE])
def test_who_could_not_reach_whatsapp_is_back_within_a_minute_of_being_able_to(reason: R) -> None:
    history = History()
    for _ in range(20):
        decision = judge(reason, history, chance=0.999)
        assert decision.delay_s is not None
        assert decision.delay_s < S.dial_cap_s
        history = decision.history
    assert decision.delay_s > 0.99 * S.dial_cap_s
    refused = judge(R.SERVER_ERROR, history, chance=0.999)
    assert refused.delay_s is not None
    assert refused.delay_s > S.dial_cap_s, "who was answered waits as long as before"


@given(st.sampled_from(list(R)), st.one_of(st.none(), st.floats(0, 1e6)), st.floats(0, 1, exclude_max=True))
def test_final_reasons_are_final_and_others_are_not(reason: R, uptime: float | None, chance: float) -> None:
    decision = decide(Failure(reason=reason, uptime_s=uptime), History(), S, NOW, chance)
    assert (decision.action is Action.NEVER) == (REASONS[reason].kind in FINAL_STATES)
    if REASONS[reason].charge is Charge.NEVER:
        assert not decision.charged
