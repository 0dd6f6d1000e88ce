"""What is alarming, and what is thought of an alert whose cause has gone."""

from __future__ import annotations

import pytest

from appliance.history.alert_rules import RULES, STATE_RULES, Facts, Fate, SessionFacts, evaluate
from appliance.history.alert_texts import _PERSON, _TITLES
from appliance.history.settings import AlertSettings
from appliance.model import SessionState
from appliance.model_history import AlertRule, AlertSeverity, Language
from appliance.sessions.settings import ReconnectSettings

NOW = 1_800_000_000.0
DAY = 86_400.0
SETTINGS = AlertSettings()


def fleet(number: int, state: SessionState = SessionState.ONLINE) -> tuple[SessionFacts, ...]:
    return tuple(SessionFacts(id=f"s{count}", state=state) for count in range(number))


def rules_of(facts: Facts, settings: AlertSettings = SETTINGS) -> set[tuple[AlertRule, str]]:
    return set(evaluate(facts, settings).conditions)


def one(state: SessionState = SessionState.ONLINE, **more: object) -> Facts:
    return Facts(now=NOW, sessions=(SessionFacts(id="a", state=state, **more),))  # type: ignore[arg-type]


def test_all_well() -> None:
    assert rules_of(Facts(now=NOW, sessions=fleet(60), storage="", redis="", storage_share=0.5, linked=9)) == set()
    assert rules_of(Facts(now=NOW)) == set()


@pytest.mark.parametrize(
    ("lost", "sessions", "alarming"), [(11, 60, False), (12, 60, True), (2, 5, False), (3, 5, True)]
)
def test_rate(lost: int, sessions: int, alarming: bool) -> None:
    facts = Facts(now=NOW, sessions=fleet(sessions), lost_sessions=lost)
    assert ((AlertRule.DISCONNECTION_RATE, "") in rules_of(facts)) == alarming


def test_stopped_sessions_are_no_part_of_the_fleet() -> None:
    facts = Facts(now=NOW, sessions=fleet(10) + fleet(90, SessionState.STOPPED), lost_sessions=3)
    assert evaluate(facts, SETTINGS).conditions[AlertRule.DISCONNECTION_RATE, ""].number == 30


@pytest.mark.parametrize(("state", "rule"), STATE_RULES.items())
def test_states_that_need_somebody(state: SessionState, rule: AlertRule) -> None:
    assert rules_of(one(state)) == {(rule, "a")}


def test_an_outdated_engine_is_one_alert_for_all() -> None:
    findings = evaluate(Facts(now=NOW, sessions=fleet(60, SessionState.OUTDATED)), SETTINGS)
    assert set(findings.conditions) == {(AlertRule.OUTDATED, "")}
    assert findings.conditions[AlertRule.OUTDATED, ""].severity is AlertSeverity.PAGE


def test_single_figures() -> None:
    assert rules_of(one(memory_bytes=SETTINGS.memory_bytes)) == set()
    assert rules_of(one(memory_bytes=SETTINGS.memory_bytes + 1)) == {(AlertRule.MEMORY, "a")}
    assert rules_of(one(losses_hour=6)) == {(AlertRule.UNSTABLE, "a")}
    assert rules_of(one(crashes=3)) == {(AlertRule.CRASH_LOOP, "a")}
    assert rules_of(one(storage_share=0.95)) == {(AlertRule.QUOTA, "a")}
    assert rules_of(Facts(now=NOW, storage_share=0.95)) == {(AlertRule.QUOTA, "")}
    away = {"redis": "away", "fork_server": "away", "webhooks": "gone", "lease": "taken"}
    assert rules_of(Facts(now=NOW, storage="disk full", settings="not TOML", **away)) == {
        (AlertRule.LEASE, ""),
        (AlertRule.WEBHOOKS, ""),
        (AlertRule.SETTINGS, ""),
        (AlertRule.STORAGE, ""),
        (AlertRule.REDIS, ""),
        (AlertRule.FORK_SERVER, ""),
    }


@pytest.mark.parametrize(
    ("linked", "not_linked", "alarming"), [(2, 2, False), (2, 3, True), (3, 3, False), (0, 5, True)]
)
def test_success_of_linking(linked: int, not_linked: int, alarming: bool) -> None:
    facts = Facts(now=NOW, linked=linked, not_linked=not_linked)
    assert ((AlertRule.PAIRING_RATE, "") in rules_of(facts)) == alarming


def test_a_phone_that_is_away_first_concerns_its_owner_then_the_operators() -> None:
    assert rules_of(one(phone_seen_at=NOW - 9.9 * DAY)) == set()
    key = (AlertRule.PHONE_UNSEEN, "a")
    first = evaluate(one(phone_seen_at=NOW - 10 * DAY), SETTINGS).conditions[key]
    assert (first.operators, first.number) == (False, 10)
    later = evaluate(one(phone_seen_at=NOW - 12.5 * DAY), SETTINGS).conditions[key]
    assert (later.operators, later.number, later.severity) == (True, 12, AlertSeverity.ALERT)
    assert rules_of(one(SessionState.STOPPED, phone_seen_at=NOW - 20 * DAY)) == set()


@pytest.mark.parametrize(
    ("state", "fate"),
    [
        (SessionState.ONLINE, Fate.WELL),
        (SessionState.PAIRING, Fate.UNDECIDED),
        (SessionState.RECONNECTING, Fate.UNDECIDED),
        (SessionState.STOPPED, Fate.GONE),
        (SessionState.BANNED, Fate.GONE),
    ],
)
def test_trouble_of_a_session_is_over_only_when_it_is_online(state: SessionState, fate: Fate) -> None:
    assert evaluate(one(state), SETTINGS).fate((AlertRule.NEEDS_PAIRING, "a")) is fate


def test_who_does_not_get_through_is_told_one_by_one_and_many_together() -> None:
    few = fleet(57) + tuple(SessionFacts(id=name, state=SessionState.RECONNECTING) for name in "abc")
    assert rules_of(Facts(now=NOW, sessions=few)) == {(AlertRule.OFFLINE, name) for name in "abc"}
    many = Facts(now=NOW, sessions=fleet(60, SessionState.CONNECTING))
    assert rules_of(many) == {(AlertRule.OFFLINE, "")}
    assert RULES[AlertRule.OFFLINE].hold_s > ReconnectSettings().backoff_cap_s


def test_many_disconnections_are_not_over_because_nobody_gets_far_enough_to_be_lost_again() -> None:
    key = (AlertRule.DISCONNECTION_RATE, "")
    assert evaluate(Facts(now=NOW, sessions=fleet(60, SessionState.RECONNECTING)), SETTINGS).fate(key) is Fate.UNDECIDED
    assert evaluate(Facts(now=NOW, sessions=fleet(60)), SETTINGS).fate(key) is Fate.WELL


def test_an_engine_is_not_well_because_somebody_tries_it() -> None:
    key = (AlertRule.OUTDATED, "")
    assert evaluate(one(SessionState.CONNECTING), SETTINGS).fate(key) is Fate.UNDECIDED
    assert evaluate(one(), SETTINGS).fate(key) is Fate.WELL
    assert evaluate(one(SessionState.STOPPED), SETTINGS).fate(key) is Fate.WELL


def test_fate_of_what_is_not_known() -> None:
    findings = evaluate(Facts(now=NOW), SETTINGS)
    assert findings.fate((AlertRule.REDIS, "")) is Fate.UNDECIDED
    assert findings.fate((AlertRule.MEMORY, "removed")) is Fate.GONE
    assert evaluate(Facts(now=NOW, redis=""), SETTINGS).fate((AlertRule.REDIS, "")) is Fate.WELL


def test_every_rule_has_its_words() -> None:
    assert set(RULES) == set(AlertRule) == set(_TITLES)
    assert all(rule.meaning and rule.remedy for rule in RULES.values() if rule is not RULES[AlertRule.COOLING])
    concerned = {rule for rule in AlertRule if RULES[rule].person}
    assert concerned == set(_PERSON)
    assert all(set(texts) == set(Language) for texts in _PERSON.values())
