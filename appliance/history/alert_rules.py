"""What is alarming: a pure function of the facts. When and to whom it is told is decided elsewhere."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.history.settings import DAY_S, AlertSettings
from appliance.model import ADVICE, SessionState
from appliance.model_history import AlertRule, AlertSeverity

Key = tuple[AlertRule, str]
"""Rule and session; an empty session stands for the appliance."""


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one session. None: not known."""

    id: str
    state: SessionState
    detail: str = ""
    memory_bytes: int | None = None
    phone_seen_at: float | None = None
    losses_hour: int = 0
    """Connections lost within an hour, without those that somebody asked for."""
    crashes: int = 0
    """Crashes of its process within ten minutes."""
    storage_share: float | None = None
    """Part of its own storage quota that is used."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the appliance at one moment. Troubles: what is wrong; empty: nothing; None: not
    known."""

    now: float
    sessions: tuple[SessionFacts, ...] = ()
    lost_sessions: int = 0
    """Sessions that lost their connection within the window of the rate."""
    fork_server: str | None = None
    storage: str | None = None
    redis: str | None = None
    settings: str | None = None
    lease: str | None = None
    webhooks: str | None = None
    storage_share: float | None = None
    linked: int = 0
    """Linking attempts within the window that succeeded, …"""
    not_linked: int = 0
    """… and that did not, cancelled ones left out."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`hold_s`: how long it must be so before it is told."""

    severity: AlertSeverity
    meaning: str
    remedy: str
    hold_s: float = 0.0
    person: bool = False
    """Whether the session's person has to act."""


def _of_state(severity: AlertSeverity, state: SessionState, *, person: bool = False) -> Rule:
    advice = ADVICE[state]
    return Rule(severity=severity, meaning=advice.meaning, remedy=advice.remedy, person=person)


_W, _A, _P = AlertSeverity.WARNING, AlertSeverity.ALERT, AlertSeverity.PAGE
RULES: Final[dict[AlertRule, Rule]] = {
    AlertRule.DISCONNECTION_RATE: Rule(
        severity=_P,
        meaning="Many sessions lost their connection at the same time.",
        remedy="Look at the machine's network, then at amda history --stats; the sessions come back by themselves.",
    ),
    AlertRule.OFFLINE: Rule(
        severity=_W,
        meaning="A session has not got through to WhatsApp for a quarter of an hour; it goes on trying.",
        remedy="See why: amda session show ID",
        hold_s=900.0,  # longer than any pause between two attempts
    ),
    AlertRule.UNSTABLE: Rule(
        severity=_W,
        meaning="One session loses its connection again and again.",
        remedy="See why: amda history --session ID",
    ),
    AlertRule.NEEDS_PAIRING: _of_state(_A, SessionState.NEEDS_PAIRING, person=True),
    AlertRule.REPLACED: _of_state(_A, SessionState.REPLACED),
    AlertRule.BANNED: _of_state(_A, SessionState.BANNED, person=True),
    AlertRule.COOLING: _of_state(_W, SessionState.COOLING),
    AlertRule.CRASH_LOOP: _of_state(_A, SessionState.FAILED),
    AlertRule.OUTDATED: _of_state(_P, SessionState.OUTDATED),
    AlertRule.MEMORY: Rule(
        severity=_W,
        meaning="A session's process uses much memory; it is restarted if it goes on growing.",
        remedy="Nothing, unless it repeats: then amda session restart ID, and report it.",
        hold_s=300.0,  # a large download is over by then
    ),
    AlertRule.FORK_SERVER: Rule(
        severity=_P,
        meaning="The parent of the sessions' processes is away: no session can be started.",
        remedy="It is started again by itself; if it stays away: journalctl -u amda-sessions",
        hold_s=30.0,  # within that time everybody is back after its death
    ),
    AlertRule.STORAGE: Rule(
        severity=_A,
        meaning="Media cannot be stored; it waits in the sessions' folders.",
        remedy="See what is wrong: amda status",
        hold_s=60.0,  # restarts of the object store take less
    ),
    AlertRule.REDIS: Rule(
        severity=_W,
        meaning="Redis is away: sessions run, but none can be linked.",
        remedy="See what is wrong: amda status",
        hold_s=30.0,  # its restart takes a second; loading a large file a few
    ),
    AlertRule.SETTINGS: Rule(
        severity=_W,
        meaning="The settings file cannot be used; the settings from before stay in force.",
        remedy="See what is wrong: amda status; a daemon that starts with this file would refuse it.",
        hold_s=30.0,  # who edits by hand may save twice
    ),
    AlertRule.LEASE: Rule(
        severity=_P,
        meaning="Another machine has taken over the sessions, or the place of the backups.",
        remedy="See which, and what to do: amda status",
    ),
    AlertRule.WEBHOOKS: Rule(
        severity=_W,
        meaning="A webhook's receiver takes nothing, or has said that it is gone.",
        remedy="See why: amda webhook list; what was given up is kept: amda webhook resend",
    ),
    AlertRule.QUOTA: Rule(
        severity=_A,
        meaning="The storage is nearly full.",
        remedy="Delete or prune media (amda storage prune), or raise the quota.",
        hold_s=60.0,  # a large file passes the limit until the pruner has made room
        person=True,
    ),
    AlertRule.PAIRING_RATE: Rule(
        severity=_W,
        meaning="Linking fails more often than usual.",
        remedy="See the reasons: amda pairing list; if WhatsApp refuses codes, wait.",
    ),
    AlertRule.PHONE_UNSEEN: Rule(
        severity=_W,
        meaning="Nothing was heard of the phone for days; WhatsApp unlinks after 14 without it.",
        remedy="Have its owner open WhatsApp on the phone, and send or read a message.",
        person=True,
    ),
}
STATE_RULES: Final[dict[SessionState, AlertRule]] = {
    SessionState.NEEDS_PAIRING: AlertRule.NEEDS_PAIRING,
    SessionState.REPLACED: AlertRule.REPLACED,
    SessionState.BANNED: AlertRule.BANNED,
    SessionState.COOLING: AlertRule.COOLING,
    SessionState.FAILED: AlertRule.CRASH_LOOP,
}
_BY_STATE: Final = frozenset({*STATE_RULES.values(), AlertRule.OFFLINE})
_AWAY: Final = frozenset({SessionState.CONNECTING, SessionState.RECONNECTING, SessionState.DEGRADED})
"""It should be online, and tries to be."""
_ON_THE_WAY: Final = frozenset(
    {
        SessionState.QUEUED,
        SessionState.PAIRING,
        *_AWAY,
    }
)
"""Neither well nor in trouble yet: what was alarming before is not over until the session is online."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something is alarming now. `number` is the figure that a text may name (days, percent)."""

    severity: AlertSeverity
    text: str
    number: int = 0
    operators: bool = True
    """False: so far only the session's person is concerned."""


class Fate(enum.StrEnum):
    """What is to be thought of an alert for which there is no condition now."""

    WELL = "well"
    UNDECIDED = "undecided"
    GONE = "gone"
    """Neither: the session is stopped, removed, or in another trouble, which has an alert of its own."""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    conditions: dict[Key, Condition]
    facts: Facts
    many_away: bool = False
    """So many sessions try to be online that it would be alarming if they had all been lost just now."""

    def fate(self, key: Key) -> Fate:
        """Of an alert whose key has no condition."""
        rule, name = key
        if not name:
            unknown = {
                AlertRule.FORK_SERVER: self.facts.fork_server is None,
                AlertRule.STORAGE: self.facts.storage is None,
                AlertRule.REDIS: self.facts.redis is None,
                AlertRule.SETTINGS: self.facts.settings is None,
                AlertRule.LEASE: self.facts.lease is None,
                AlertRule.WEBHOOKS: self.facts.webhooks is None,
                AlertRule.QUOTA: self.facts.storage_share is None,
                AlertRule.DISCONNECTION_RATE: self.many_away,
                AlertRule.OUTDATED: self._nobody_knows_yet(),
            }
            return Fate.UNDECIDED if unknown.get(rule, False) else Fate.WELL
        session = next((one for one in self.facts.sessions if one.id == name), None)
        if session is None:
            return Fate.GONE
        if rule not in _BY_STATE or session.state is SessionState.ONLINE:
            return Fate.WELL
        return Fate.UNDECIDED if session.state in _ON_THE_WAY else Fate.GONE

    def _nobody_knows_yet(self) -> bool:
        """Whether somebody tries to log in, and nobody is."""
        states = {one.state for one in self.facts.sessions}
        return bool(states & _AWAY) and SessionState.ONLINE not in states


def evaluate(facts: Facts, settings: AlertSettings) -> Findings:
    """All that is alarming now."""
    found: dict[Key, Condition] = {}
    active = sum(one.state not in (SessionState.NEW, SessionState.STOPPED) for one in facts.sessions)
    away = [one for one in facts.sessions if one.state in _AWAY]
    many_away = _are_many(len(away), active, settings)
    _appliance(found, facts, settings, active)
    for session in facts.sessions:
        _session(found, session, facts, settings)
    if many_away:
        _add(found, AlertRule.OFFLINE, "", f"{len(away)} of {active} sessions try to get through to WhatsApp")
    else:
        for session in away:
            _add(found, AlertRule.OFFLINE, session.id, session.detail or RULES[AlertRule.OFFLINE].meaning)
    return Findings(conditions=found, facts=facts, many_away=many_away)


def _are_many(number: int, active: int, settings: AlertSettings) -> bool:
    return number >= settings.rate_minimum and 100 * number >= settings.rate_percent * active


def _add(found: dict[Key, Condition], rule: AlertRule, session: str, text: str, number: int = 0) -> None:
    found[rule, session] = Condition(severity=RULES[rule].severity, text=text, number=number)


def _appliance(found: dict[Key, Condition], facts: Facts, settings: AlertSettings, active: int) -> None:
    if active and _are_many(facts.lost_sessions, active, settings):
        text = f"{facts.lost_sessions} of {active} sessions lost their connection within {settings.rate_minutes:g} min"
        _add(found, AlertRule.DISCONNECTION_RATE, "", text, round(100 * facts.lost_sessions / active))
    outdated = sum(one.state is SessionState.OUTDATED for one in facts.sessions)
    if outdated:
        _add(found, AlertRule.OUTDATED, "", f"WhatsApp refuses the engine's version ({outdated} sessions)")
    if facts.fork_server:
        _add(found, AlertRule.FORK_SERVER, "", facts.fork_server)
    if facts.storage:
        _add(found, AlertRule.STORAGE, "", facts.storage)
    if facts.redis:
        _add(found, AlertRule.REDIS, "", facts.redis)
    if facts.settings:
        _add(found, AlertRule.SETTINGS, "", facts.settings)
    if facts.lease:
        _add(found, AlertRule.LEASE, "", facts.lease)
    if facts.webhooks:
        _add(found, AlertRule.WEBHOOKS, "", facts.webhooks)
    attempts = facts.linked + facts.not_linked
    if attempts >= settings.pairing_minimum and 100 * facts.linked < settings.pairing_percent * attempts:
        text = f"{facts.linked} of {attempts} attempts succeeded within {settings.pairing_hours:g} h"
        _add(found, AlertRule.PAIRING_RATE, "", text)
    _quota(found, "", facts.storage_share, settings)


def _session(found: dict[Key, Condition], session: SessionFacts, facts: Facts, settings: AlertSettings) -> None:
    rule = STATE_RULES.get(session.state)
    if rule is not None:
        _add(found, rule, session.id, session.detail or RULES[rule].meaning)
    if session.crashes >= settings.crash_losses and session.state is not SessionState.FAILED:
        _add(found, AlertRule.CRASH_LOOP, session.id, f"its process crashed {session.crashes} times within 10 min")
    if session.losses_hour >= settings.unstable_losses:
        _add(found, AlertRule.UNSTABLE, session.id, f"{session.losses_hour} disconnections within an hour")
    if session.memory_bytes is not None and session.memory_bytes > settings.memory_bytes:
        _add(found, AlertRule.MEMORY, session.id, f"its process uses {session.memory_bytes >> 20} MiB")
    _quota(found, session.id, session.storage_share, settings)
    if session.phone_seen_at is None or session.state not in (SessionState.ONLINE, *_ON_THE_WAY):
        return
    days = (facts.now - session.phone_seen_at) / DAY_S
    if days >= settings.phone_warn_days:
        loud = days >= settings.phone_alert_days
        found[AlertRule.PHONE_UNSEEN, session.id] = Condition(
            severity=AlertSeverity.ALERT if loud else AlertSeverity.WARNING,
            text=f"nothing was heard of the phone for {int(days)} days",
            number=int(days),
            operators=loud,
        )


def _quota(found: dict[Key, Condition], name: str, used: float | None, settings: AlertSettings) -> None:
    if used is not None and 100 * used >= settings.quota_percent:
        _add(found, AlertRule.QUOTA, name, f"{100 * used:.0f} % of the storage is used", round(100 * used))
