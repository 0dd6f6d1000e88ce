"""When people are told: a pure step from alerts, findings and time to new alerts and what is to be told now.

Only transitions are told: pending becomes down, down becomes up, and what stays down is repeated seldom. Everything
that a decision depends on is part of the alerts' stored state, so a restart of the daemon tells nothing again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from appliance.history.alert_rules import RULES, Condition, Fate, Findings, Key
from appliance.history.settings import AlertSettings, is_quiet
from appliance.model_history import AlertPhase, AlertRule, AlertSeverity


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert from its first sign to its end. Times are by the wall clock."""

    id: str
    rule: AlertRule
    session: str
    severity: AlertSeverity
    phase: AlertPhase
    text: str
    number: int
    operators: bool
    since: float
    well_since: float | None = None
    """All has been well from then on, but not for long enough to say so."""
    down_at: float | None = None
    told_at: float | None = None
    person_told_at: float | None = None
    ended_at: float | None = None
    acknowledged_by: str | None = None

    @property
    def key(self) -> Key:
        return self.rule, self.session


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing that matches is told. Empty: any."""

    rule: str = ""
    session: str = ""
    until: float

    def covers(self, alert: Alert, now: float) -> bool:
        """Whether it holds for this alert now."""
        return now < self.until and self.rule in ("", alert.rule) and self.session in ("", alert.session)


class News(enum.StrEnum):
    """Why something is told."""

    DOWN = "down"
    STILL = "still"
    UP = "up"


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    news: News
    alert: Alert


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """`open`: the alerts that go on (ended ones too, until their end was told). `closed`: no more to be done.
    `transitions`: alerts that went down or up just now. `operators`: one message; `persons`: one message each."""

    open: dict[Key, Alert]
    closed: list[Alert]
    transitions: list[Alert]
    operators: list[Telling]
    persons: list[Telling]


def step(
    alerts: Mapping[Key, Alert],
    findings: Findings,
    silences: Iterable[Silence],
    settings: AlertSettings,
    now: float,
    new_id: Callable[[], str],
    persons: Collection[str] = (),
) -> Step:
    """Judge everything once. `persons`: sessions of which a person is known."""
    silences = tuple(silences)
    going: dict[Key, Alert] = {}
    closed: list[Alert] = []
    transitions: list[Alert] = []
    for key in [*alerts, *(key for key in findings.conditions if key not in alerts)]:
        before = _sane(alerts.get(key), now)
        condition = findings.conditions.get(key)
        if before is not None and before.ended_at is not None and condition is not None:
            closed.append(before)  # it comes back before its end was told: a new alert, and no word of the recovery
            before = None
        after = _follow(before, key, condition, findings, settings, now, new_id)
        if after is None:
            continue
        if after.phase is not AlertPhase.PENDING and (before is None or before.phase is not after.phase):
            transitions.append(after)
        if after.ended_at is not None and (after.told_at is None or findings.fate(key) is Fate.GONE):
            closed.append(after)
        else:
            going[key] = after
    operators = _tell_operators(going, closed, silences, settings, now)
    told = _tell_persons(going, persons, silences, settings, now)
    return Step(open=going, closed=closed, transitions=transitions, operators=operators, persons=told)


def _sane(alert: Alert | None, now: float) -> Alert | None:
    """No moment of the past lies in the future, even if the clock was set back: repeats would wait for it."""
    if alert is None:
        return None
    fields = ("since", "down_at", "told_at", "person_told_at", "ended_at")
    future = {name: now for name in fields if (getattr(alert, name) or 0.0) > now}
    return msgspec.structs.replace(alert, **future) if future else alert


def _follow(
    before: Alert | None,
    key: Key,
    condition: Condition | None,
    findings: Findings,
    settings: AlertSettings,
    now: float,
    new_id: Callable[[], str],
) -> Alert | None:
    """One alert's next state; None: there is none (any more), and nobody ever heard of it."""
    if condition is not None:
        return _alarming(before, key, condition, now, new_id)
    if before is None or before.ended_at is not None:
        return before
    fate = findings.fate(key)
    if fate is Fate.UNDECIDED:
        return before
    if before.phase is AlertPhase.PENDING:
        return None
    well_since = now if before.well_since is None else min(now, before.well_since)
    after = msgspec.structs.replace(before, well_since=well_since)
    if fate is Fate.WELL and now - well_since < settings.clear_s:
        return after
    return msgspec.structs.replace(after, phase=AlertPhase.UP, ended_at=well_since)


def _alarming(before: Alert | None, key: Key, condition: Condition, now: float, new_id: Callable[[], str]) -> Alert:
    rule, session = key
    if before is None:
        before = Alert(
            id=new_id(),
            rule=rule,
            session=session,
            severity=condition.severity,
            phase=AlertPhase.PENDING,
            text=condition.text,
            number=condition.number,
            operators=condition.operators,
            since=now,
        )
    down = before.phase is AlertPhase.DOWN or now - before.since >= RULES[rule].hold_s
    return msgspec.structs.replace(
        before,
        severity=condition.severity,
        text=condition.text,
        number=condition.number,
        operators=condition.operators,
        phase=AlertPhase.DOWN if down else AlertPhase.PENDING,
        down_at=before.down_at if before.down_at is not None or not down else now,
        well_since=None,
    )


def _tell_operators(
    going: dict[Key, Alert], closed: list[Alert], silences: tuple[Silence, ...], settings: AlertSettings, now: float
) -> list[Telling]:
    """All that is due, as one message. Something that may wait waits for what comes with it, then all go together."""
    quiet = is_quiet(settings, now)
    ready: list[Telling] = []
    urgent = False
    repeat = any(_news(alert, settings.repeat_s, now) is News.STILL for alert in going.values())
    repeat_s = settings.repeat_s / 2 if repeat else settings.repeat_s  # repeats gather instead of dripping
    for alert in going.values():
        held = any(silence.covers(alert, now) for silence in silences)
        if held or (quiet and alert.severity is not AlertSeverity.PAGE):
            continue
        news = _news(alert, repeat_s, now)
        if news is None:
            continue
        ready.append(Telling(news=news, alert=alert))
        began = alert.ended_at if news is News.UP else alert.down_at
        waited = began is None or not 0 <= now - began < settings.group_s
        urgent = urgent or waited or news is News.STILL or alert.severity is AlertSeverity.PAGE
    if not urgent:
        return []
    for telling in ready:
        alert = telling.alert
        if telling.news is News.UP:
            del going[alert.key]
            closed.append(alert)
        else:
            going[alert.key] = msgspec.structs.replace(alert, told_at=now)
    return ready


def _news(alert: Alert, repeat_s: float, now: float) -> News | None:
    """What there is to say of it to the operators, apart from whether this is the moment."""
    if alert.ended_at is not None:
        return News.UP
    if alert.phase is not AlertPhase.DOWN or not alert.operators or alert.well_since is not None:
        return None
    if alert.told_at is None:
        return News.DOWN
    due = alert.acknowledged_by is None and now - alert.told_at >= repeat_s
    return News.STILL if due else None


def _tell_persons(
    going: dict[Key, Alert],
    persons: Collection[str],
    silences: tuple[Silence, ...],
    settings: AlertSettings,
    now: float,
) -> list[Telling]:
    """What somebody's own person must do; never at night, whatever it is."""
    if is_quiet(settings, now):
        return []
    tellings = []
    for key, alert in going.items():
        concerned = RULES[alert.rule].person and alert.session in persons and alert.phase is AlertPhase.DOWN
        if not concerned or alert.well_since is not None or any(silence.covers(alert, now) for silence in silences):
            continue
        if alert.person_told_at is None:
            news = News.DOWN
        elif now - alert.person_told_at >= settings.person_repeat_s:
            news = News.STILL
        else:
            continue
        tellings.append(Telling(news=news, alert=alert))
        going[key] = msgspec.structs.replace(alert, person_told_at=now)
    return tellings
