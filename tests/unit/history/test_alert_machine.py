"""The decision to tell: transitions only, grouped, repeated seldom, quiet at night, nothing again after a restart."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.alert_machine import Alert, News, Silence, Step, step
from appliance.history.alert_rules import Facts, SessionFacts, evaluate
from appliance.history.settings import AlertSettings
from appliance.model import SessionState
from appliance.model_history import AlertPhase, AlertRule

NOON = 1_800_000_000.0 - 1_800_000_000.0 % 86_400 + 43_200
HOUR = 3600.0
SETTINGS = AlertSettings(group_s=30, clear_s=60, repeat_s=6 * HOUR, timezone="UTC")
NIGHT = msgspec.structs.replace(SETTINGS, quiet_from="22:00", quiet_to="07:00")


class Rehearsal:
    """Alerts over time; every step goes through JSON, as a restart would have it."""

    def __init__(self, settings: AlertSettings = SETTINGS, persons: frozenset[str] = frozenset()) -> None:
        self.settings = settings
        self.persons = persons
        self.now = NOON
        self.alerts: dict[tuple[AlertRule, str], Alert] = {}
        self.silences: list[Silence] = []
        self.told: list[list[tuple[News, AlertRule, str]]] = []
        self.letters: list[tuple[News, AlertRule, str]] = []
        self.transitions: list[tuple[AlertPhase, AlertRule]] = []
        self.closed: list[Alert] = []
        self._ids = (f"id{number}" for number in itertools.count())

    def judge(self, wait: float = 0.0, **facts: Any) -> Step:
        self.now += wait
        findings = evaluate(Facts(now=self.now, **facts), self.settings)
        outcome = step(
            self.alerts, findings, self.silences, self.settings, self.now, lambda: next(self._ids), self.persons
        )
        stored = msgspec.json.encode(list(outcome.open.values()))
        self.alerts = {alert.key: alert for alert in msgspec.json.decode(stored, type=list[Alert])}
        if outcome.operators:
            self.told.append([(one.news, one.alert.rule, one.alert.session) for one in outcome.operators])
        self.letters += [(one.news, one.alert.rule, one.alert.session) for one in outcome.persons]
        self.transitions += [(alert.phase, alert.rule) for alert in outcome.transitions]
        self.closed += outcome.closed
        return outcome

    def run(self, seconds: float, every: float = 10.0, **facts: Any) -> None:
        end = self.now + seconds
        while self.now < end:
            self.judge(min(every, end - self.now), **facts)


def session(state: SessionState, name: str = "a") -> dict[str, Any]:
    return {"sessions": (SessionFacts(id=name, state=state),)}


def sessions(state: SessionState, names: str) -> dict[str, Any]:
    return {"sessions": tuple(SessionFacts(id=name, state=state) for name in names)}


def test_down_is_told_once_and_recovery_with_its_duration() -> None:
    rehearsal = Rehearsal()
    rehearsal.run(HOUR, redis="away")
    assert rehearsal.told == [[(News.DOWN, AlertRule.REDIS, "")]]
    rehearsal.run(HOUR, redis="")
    assert rehearsal.told[1:] == [[(News.UP, AlertRule.REDIS, "")]]
    assert rehearsal.transitions == [(AlertPhase.DOWN, AlertRule.REDIS), (AlertPhase.UP, AlertRule.REDIS)]
    (ended,) = rehearsal.closed
    assert ended.ended_at is not None
    assert ended.ended_at - ended.since == HOUR
    assert rehearsal.alerts == {}


def test_what_is_over_before_its_time_is_never_told() -> None:
    rehearsal = Rehearsal()
    rehearsal.run(20, redis="away")
    assert [alert.phase for alert in rehearsal.alerts.values()] == [AlertPhase.PENDING]
    rehearsal.run(600, redis="")
    assert (rehearsal.told, rehearsal.transitions, rehearsal.closed, rehearsal.alerts) == ([], [], [], {})


def test_flapping_is_one_alert() -> None:
    rehearsal = Rehearsal()
    for _ in range(20):
        rehearsal.run(60, redis="away")
        rehearsal.run(50, redis="")
    assert rehearsal.told == [[(News.DOWN, AlertRule.REDIS, "")]]


def test_what_comes_together_is_told_together() -> None:
    rehearsal = Rehearsal()
    rehearsal.judge(**sessions(SessionState.NEEDS_PAIRING, "a"))
    rehearsal.judge(10, **sessions(SessionState.NEEDS_PAIRING, "abc"))
    rehearsal.run(60, **sessions(SessionState.NEEDS_PAIRING, "abcd"))
    assert [[name for _, _, name in told] for told in rehearsal.told] == [["a", "b", "c", "d"]]


def test_a_page_does_not_wait() -> None:
    rehearsal = Rehearsal(NIGHT)
    rehearsal.now = NOON + 14 * HOUR
    rehearsal.judge(**session(SessionState.OUTDATED))
    assert rehearsal.told == [[(News.DOWN, AlertRule.OUTDATED, "")]]


def test_repeats_gather_and_stop_when_acknowledged() -> None:
    rehearsal = Rehearsal()
    rehearsal.run(HOUR, **sessions(SessionState.NEEDS_PAIRING, "a"))
    rehearsal.run(5 * HOUR + 60, **sessions(SessionState.NEEDS_PAIRING, "ab"))
    assert [[(news, name) for news, _, name in told] for told in rehearsal.told] == [
        [(News.DOWN, "a")],
        [(News.DOWN, "b")],
        [(News.STILL, "a"), (News.STILL, "b")],
    ]
    rehearsal.alerts = {
        key: msgspec.structs.replace(alert, acknowledged_by="x") for key, alert in rehearsal.alerts.items()
    }
    rehearsal.run(48 * HOUR, every=600, **sessions(SessionState.NEEDS_PAIRING, "ab"))
    assert len(rehearsal.told) == 3
    rehearsal.run(200, **sessions(SessionState.ONLINE, "ab"))
    assert [news for news, _, _ in rehearsal.told[3]] == [News.UP, News.UP]


def test_the_night_is_quiet_and_the_morning_tells_what_is_left() -> None:
    rehearsal = Rehearsal(NIGHT)
    rehearsal.now = NOON + 12 * HOUR
    rehearsal.run(HOUR, **sessions(SessionState.NEEDS_PAIRING, "a"), redis="away")
    rehearsal.run(5 * HOUR, **sessions(SessionState.NEEDS_PAIRING, "a"), redis="")
    assert rehearsal.told == []
    rehearsal.run(2 * HOUR, **sessions(SessionState.NEEDS_PAIRING, "a"), redis="")
    assert rehearsal.told == [[(News.DOWN, AlertRule.NEEDS_PAIRING, "a")]]


def test_a_recovery_in_the_night_is_told_in_the_morning() -> None:
    rehearsal = Rehearsal(NIGHT)
    rehearsal.now = NOON + 9 * HOUR
    rehearsal.run(HOUR, redis="away")
    rehearsal.run(8 * HOUR, redis="")
    assert len(rehearsal.told) == 1
    rehearsal.run(2 * HOUR, redis="")
    assert rehearsal.told[1:] == [[(News.UP, AlertRule.REDIS, "")]]


def test_trouble_that_returns_before_its_end_was_told_is_no_recovery() -> None:
    rehearsal = Rehearsal(NIGHT)
    rehearsal.now = NOON + 9 * HOUR
    rehearsal.run(HOUR, redis="away")
    rehearsal.run(4 * HOUR, redis="")
    rehearsal.run(8 * HOUR, redis="away")
    assert [[news for news, _, _ in told] for told in rehearsal.told] == [[News.DOWN], [News.DOWN]]


def test_silences() -> None:
    rehearsal = Rehearsal(persons=frozenset("ab"))
    rehearsal.silences = [Silence(session="a", until=NOON + HOUR)]
    rehearsal.run(HOUR - 60, **sessions(SessionState.NEEDS_PAIRING, "ab"))
    assert rehearsal.told == [[(News.DOWN, AlertRule.NEEDS_PAIRING, "b")]]
    assert rehearsal.letters == [(News.DOWN, AlertRule.NEEDS_PAIRING, "b")]
    rehearsal.run(300, **sessions(SessionState.NEEDS_PAIRING, "ab"))
    assert rehearsal.told[1:] == [[(News.DOWN, AlertRule.NEEDS_PAIRING, "a")]]
    assert len(rehearsal.letters) == 2


def test_linking_again_is_no_recovery_until_it_is_online() -> None:
    rehearsal = Rehearsal()
    rehearsal.run(120, **session(SessionState.NEEDS_PAIRING))
    for state in (SessionState.QUEUED, SessionState.PAIRING, SessionState.CONNECTING):
        rehearsal.run(120, **session(state))
    rehearsal.run(120, **session(SessionState.NEEDS_PAIRING))
    assert [[news for news, _, _ in told] for told in rehearsal.told] == [[News.DOWN]]
    rehearsal.run(200, **session(SessionState.ONLINE))
    assert [[news for news, _, _ in told] for told in rehearsal.told[1:]] == [[News.UP]]


def test_a_session_that_is_stopped_or_removed_did_not_recover() -> None:
    removed: dict[str, Any] = {"sessions": ()}
    for after in (session(SessionState.STOPPED), removed):
        rehearsal = Rehearsal()
        rehearsal.run(120, **session(SessionState.NEEDS_PAIRING))
        rehearsal.run(300, **after)
        assert len(rehearsal.told) == 1
        assert rehearsal.alerts == {}
        assert [alert.phase for alert in rehearsal.closed] == [AlertPhase.UP]


def test_persons_are_told_by_day_and_daily() -> None:
    rehearsal = Rehearsal(NIGHT, persons=frozenset("a"))
    rehearsal.now = NOON + 12 * HOUR
    rehearsal.run(6 * HOUR, every=60, **sessions(SessionState.NEEDS_PAIRING, "ab"))
    assert rehearsal.letters == []
    rehearsal.run(48 * HOUR, every=60, **sessions(SessionState.NEEDS_PAIRING, "ab"))
    assert [news for news, _, _ in rehearsal.letters] == [News.DOWN, News.STILL]
    assert {name for _, _, name in rehearsal.letters} == {"a"}


def test_a_phone_away_for_ten_days_is_told_to_its_owner_alone() -> None:
    rehearsal = Rehearsal(persons=frozenset("a"))
    seen = NOON - 10 * 86_400

    def facts() -> dict[str, Any]:
        return {"sessions": (SessionFacts(id="a", state=SessionState.ONLINE, phone_seen_at=seen),)}

    rehearsal.run(HOUR, **facts())
    assert (len(rehearsal.letters), rehearsal.told) == (1, [])
    rehearsal.run(50 * HOUR, every=600, **facts())
    assert rehearsal.told == [[(News.DOWN, AlertRule.PHONE_UNSEEN, "a")]]


def test_somebody_named_later_is_told_at_once() -> None:
    rehearsal = Rehearsal()
    rehearsal.run(120, **session(SessionState.NEEDS_PAIRING))
    rehearsal.persons = frozenset("a")
    rehearsal.judge(10, **session(SessionState.NEEDS_PAIRING))
    assert rehearsal.letters == [(News.DOWN, AlertRule.NEEDS_PAIRING, "a")]


def test_a_clock_from_the_future_delays_nothing_for_years() -> None:
    rehearsal = Rehearsal()
    rehearsal.now += 10 * 365 * 86_400
    rehearsal.run(120, redis="away")
    rehearsal.now = NOON
    rehearsal.run(7 * HOUR, every=60, redis="away")
    assert [[news for news, _, _ in told] for told in rehearsal.told] == [[News.DOWN], [News.STILL]]


facts_strategy = st.fixed_dictionaries(
    {
        "redis": st.sampled_from([None, "", "away"]),
        "storage": st.sampled_from([None, "", "full"]),
        "sessions": st.lists(st.sampled_from(list(SessionState)), min_size=2, max_size=2).map(
            lambda states: tuple(SessionFacts(id=name, state=state) for name, state in zip("ab", states, strict=True))
        ),
    }
)


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.floats(min_value=0, max_value=2 * HOUR), facts_strategy), min_size=1, max_size=25),
    st.booleans(),
)
def test_whatever_happens(course: list[tuple[float, dict[str, Any]]], with_night: bool) -> None:
    """For each alert: down is told before still and up, down and up at most once, still at most once in half a
    period; nothing but pages by night; and after all is well nothing remains."""
    settings = NIGHT if with_night else SETTINGS
    rehearsal = Rehearsal(settings, frozenset("ab"))
    heard: dict[str, list[tuple[News, float]]] = {}
    well: dict[str, Any] = {"redis": "", "storage": "", "sessions": ()}
    for wait, facts in [*course, *itertools.repeat((600.0, well), 150)]:
        outcome = rehearsal.judge(wait, **facts)
        hour = (rehearsal.now % 86_400) / HOUR
        asleep = with_night and (hour >= 22 or hour < 7)
        for telling in outcome.operators:
            heard.setdefault(telling.alert.id, []).append((telling.news, rehearsal.now))
            assert not asleep or telling.alert.severity == "page"
        assert not (asleep and outcome.persons)
        assert len({(one.alert.rule, one.alert.session) for one in outcome.operators}) == len(outcome.operators)
    for tellings in heard.values():
        kinds = [news for news, _ in tellings]
        assert kinds[0] is News.DOWN
        assert kinds.count(News.DOWN) == 1
        assert kinds.count(News.UP) <= 1
        assert News.UP not in kinds[:-1]
        still = [at for news, at in tellings if news is not News.UP]
        assert all(b - a >= settings.repeat_s / 2 for a, b in itertools.pairwise(still))
    assert rehearsal.alerts == {}
