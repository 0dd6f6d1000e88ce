"""The alerts at work: looks at the facts every few seconds, stores what it decides, and queues what is to be told.

State and messages are stored in one transaction: a daemon that dies at any moment has told each thing once.
"""

from __future__ import annotations

import asyncio
import collections
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Final

import aiosqlite
import msgspec
import structlog

from appliance.database import Database
from appliance.events import EventBus
from appliance.history.alert_machine import Alert, Silence, Telling, step
from appliance.history.alert_rules import RULES, Key, evaluate
from appliance.history.alert_texts import Message, operator_message, person_message, person_trial_message, trial_message
from appliance.history.delivery import DeliveryError, Sender, ping
from appliance.history.facts import LiveSource, gather
from appliance.history.ledger import Ledger
from appliance.history.outbox import Outbox
from appliance.history.persons import Persons
from appliance.history.settings import AlertSettings
from appliance.masking import hide_target
from appliance.model_history import (
    AlertPhase,
    AlertRule,
    AlertSeverity,
    AlertView,
    RuleView,
    SilenceRequest,
    SilenceView,
    TrialOutcome,
)
from appliance.problems import conflict, not_found

HEARTBEAT_TIMEOUT_S: Final = 15.0
"""A dead man's switch answers at once or not at all; the next call comes a minute later."""
_log: Final = structlog.get_logger(__name__)


class AlertService:
    """Call `await load()`, then let `run()` work until it is cancelled."""

    def __init__(
        self,
        *,
        database: Database,
        ledger: Ledger,
        bus: EventBus,
        live: LiveSource,
        persons: Persons,
        outbox: Outbox,
        sender: Sender,
        settings: Callable[[], AlertSettings],
        node: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._bus = bus
        self._live = live
        self._persons = persons
        self._outbox = outbox
        self._sender = sender
        self._settings = settings
        self._node = node
        self._clock = clock
        self._alerts: dict[Key, Alert] = {}
        self._stored: dict[str, Alert] = {}
        self._closed: list[Alert] = []
        self._silences: dict[str, SilenceView] = {}
        self._busy = asyncio.Lock()
        self._alive = True
        self._started_at = 0.0

    async def load(self) -> None:
        """Take up what is open, where the daemon before this one left it."""
        self._started_at = self._clock()
        for row in await self._database.fetch_all("SELECT state FROM alerts WHERE ended_at IS NULL"):
            alert = msgspec.json.decode(row["state"], type=Alert)
            self._alerts[alert.key] = self._stored[alert.id] = alert
            if alert.phase is not AlertPhase.PENDING and not await self._bus.was_told(
                f"alert.{alert.phase}", alert.session or None, alert.id
            ):
                await self._publish(alert)  # the daemon before this one was killed in between
        for row in await self._database.fetch_all("SELECT * FROM silences WHERE until > ?", (self._clock(),)):
            self._silences[row["id"]] = SilenceView(
                id=row["id"],
                rule=AlertRule(row["rule"]) if row["rule"] else None,
                session=row["session"] or None,
                until=row["until"],
                created_at=row["created_at"],
                comment=row["comment"],
            )

    async def run(self) -> None:
        """Judge, deliver, and call the dead man's switch."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._outbox.run())
            tasks.create_task(self._heartbeat())
            while True:
                try:
                    await self.judge()
                except sqlite3.Error as error:  # a damaged or full disk; sessions need none of this to go on
                    _log.error("alerts cannot be judged", error=str(error))
                await asyncio.sleep(self._settings().check_s)

    async def judge(self) -> None:
        """Look once at everything."""
        async with self._busy:
            settings, now = self._settings(), self._clock()
            facts = await gather(self._database, self._ledger, await self._live(), settings, now, self._started_at)
            silences = [
                Silence(rule=silence.rule or "", session=silence.session or "", until=silence.until)
                for silence in self._silences.values()
            ]
            outcome = step(
                self._alerts,
                evaluate(facts, settings),
                silences,
                settings,
                now,
                lambda: uuid.uuid4().hex[:12],
                await self._persons.sessions(),
            )
            self._alerts = outcome.open
            self._closed += outcome.closed
            message = operator_message(outcome.operators, self._node, now) if outcome.operators else None
            try:
                await self._store(message, outcome.persons, settings, now)
            except sqlite3.Error as error:
                _log.error("alerts cannot be stored", error=str(error))
                await self._tell_unstored(message, settings)
        for telling in outcome.operators:
            _tell_log(telling)
        if outcome.operators or outcome.persons:
            self._outbox.wake()
        for alert in outcome.transitions:
            await self._publish(alert)

    async def alerts(self, ended_since: float) -> list[AlertView]:
        """Open ones first, then those that ended since then; newest first."""
        rows = await self._database.fetch_all(
            "SELECT state FROM alerts WHERE ended_at >= ? ORDER BY ended_at DESC LIMIT 500", (ended_since,)
        )
        ended = [msgspec.json.decode(row["state"], type=Alert) for row in rows]
        current = sorted(self._alerts.values(), key=lambda alert: -alert.since)
        current.sort(key=lambda alert: alert.phase is AlertPhase.UP)
        return [self._view(alert) for alert in (*current, *(one for one in ended if one.down_at is not None))]

    async def acknowledge(self, alert_id: str, by: str) -> AlertView:
        """It is not repeated any more. Raises ProblemError 404, or 409 if it is over already."""
        async with self._busy:
            alert = next((one for one in self._alerts.values() if one.id == alert_id), None)
            if alert is None:
                row = await self._database.fetch_one("SELECT 1 FROM alerts WHERE id = ?", (alert_id,))
                if row is not None:
                    raise conflict("The alert is over.", "See the open ones: amda alert list")
                raise not_found("alert", alert_id, "See the open ones: amda alert list")
            alert = msgspec.structs.replace(alert, acknowledged_by=by)
            async with self._database.transaction() as connection:
                await _put(connection, alert, ended=False)
            self._alerts[alert.key] = self._stored[alert.id] = alert
        await self._bus.publish("alert.acknowledged", alert.session or None, id=alert.id, rule=alert.rule, by=by)
        return self._view(alert)

    async def silence(self, request: SilenceRequest) -> SilenceView:
        """Nothing that matches is told for a while; alerts are shown all the same."""
        now = self._clock()
        view = SilenceView(
            id=uuid.uuid4().hex[:12],
            rule=request.rule,
            session=request.session,
            until=now + request.duration_s,
            created_at=now,
            comment=request.comment,
        )
        await self._database.execute(
            "INSERT INTO silences (id, rule, session, until, created_at, comment) VALUES (?, ?, ?, ?, ?, ?)",
            (view.id, view.rule or "", view.session or "", view.until, now, view.comment),
        )
        self._silences[view.id] = view
        return view

    def silences(self) -> list[SilenceView]:
        """Those that hold, the last to end first."""
        now = self._clock()
        return sorted((one for one in self._silences.values() if one.until > now), key=lambda one: -one.until)

    async def end_silence(self, silence_id: str) -> None:
        """Raises ProblemError 404."""
        if self._silences.pop(silence_id, None) is None:
            raise not_found("silence", silence_id, "See them: amda alert silence")
        await self._database.execute("DELETE FROM silences WHERE id = ?", (silence_id,))

    async def test(self, session: str | None) -> list[TrialOutcome]:
        """Tell everybody (or one session's person) that this is a test, at once and once."""
        settings, now = self._settings(), self._clock()
        if session is None:
            targets, message = _operators(settings), trial_message(self._node, now)
            if not targets:
                raise conflict("Nobody is told of alerts.", "Set alerts.urls or alerts.webhook_url.")
        else:
            person, contact = await self._persons.contact(session)
            targets, message = [contact], person_trial_message(session, person.name, person.language, now)
        outcomes = []
        for target in targets:
            begun, error = time.monotonic(), ""
            try:
                await self._sender.send(target, message, settings, person=session is not None)
            except DeliveryError as failure:
                error = str(failure)
            took = time.monotonic() - begun
            outcomes.append(
                TrialOutcome(target=hide_target(target), delivered=not error, seconds=round(took, 3), error=error)
            )
        return outcomes

    async def forget(self, session: str) -> None:
        """The session was removed: nobody is told of it any more."""
        await self._persons.remove(session)
        await self._outbox.forget(session)

    async def prune(self, older_than: float) -> None:
        """Delete alerts and silences that ended before then."""
        await self._database.execute("DELETE FROM alerts WHERE ended_at < ?", (older_than,))
        await self._database.execute("DELETE FROM silences WHERE until < ?", (older_than,))

    @property
    def open(self) -> int:
        """Alerts that are down now; for the status and the metrics."""
        return sum(alert.phase is AlertPhase.DOWN for alert in self._alerts.values())

    @property
    def down(self) -> dict[tuple[AlertRule, AlertSeverity], int]:
        """How many are down now, by rule and severity: for the metrics."""
        down = (alert for alert in self._alerts.values() if alert.phase is AlertPhase.DOWN)
        return dict(collections.Counter((alert.rule, alert.severity) for alert in down))

    # ---- helpers ----------------------------------------------------------------------------------------------------

    async def _store(
        self, message: Message | None, persons: Sequence[Telling], settings: AlertSettings, now: float
    ) -> None:
        """Bring the database up to date and queue the messages, all or nothing."""
        opened = {alert.id: alert for alert in self._alerts.values()}
        ended = {alert.id for alert in self._closed}
        changed = [alert for alert in opened.values() if self._stored.get(alert.id) != alert]
        vanished = [one for one in self._stored if one not in opened and one not in ended]
        if not (changed or vanished or self._closed or message or persons):
            return
        letters = [(telling, await self._persons.contact(telling.alert.session)) for telling in persons]
        async with self._database.transaction() as connection:
            for alert_id in vanished:
                await connection.execute("DELETE FROM alerts WHERE id = ?", (alert_id,))
            for alert in self._closed:
                await _put(connection, alert, ended=True)
            for alert in changed:
                await _put(connection, alert, ended=False)
            if message is not None:
                await self._outbox.put(connection, message, _operators(settings))
            for telling, (person, contact) in letters:
                letter = person_message(telling.alert, person.name, person.language, now)
                await self._outbox.put(connection, letter, [contact], session=person.session)
        self._stored = opened
        self._closed = []

    async def _tell_unstored(self, message: Message | None, settings: AlertSettings) -> None:
        """A full disk is worth an alert, so this one must not need the disk: it is tried once, at once."""
        if message is None:
            return
        for target in _operators(settings):
            try:
                await self._sender.send(target, message, settings, person=False)
            except DeliveryError as error:
                _log.error("message given up", to=hide_target(target), reason=str(error))

    async def _publish(self, alert: Alert) -> None:
        try:
            await self._bus.publish(
                f"alert.{alert.phase}",
                alert.session or None,
                id=alert.id,
                rule=alert.rule,
                severity=alert.severity,
                text=alert.text,
            )
        except sqlite3.Error as error:
            _log.error("the event of an alert cannot be stored", alert=alert.id, error=str(error))

    async def _heartbeat(self) -> None:
        while True:
            settings = self._settings()
            if settings.heartbeat_url:
                try:
                    await ping(settings.heartbeat_url, HEARTBEAT_TIMEOUT_S)
                except DeliveryError as error:
                    if self._alive:
                        _log.warning("the dead man's switch does not answer", reason=str(error))
                    self._alive = False
                else:
                    if not self._alive:
                        _log.info("the dead man's switch answers again")
                    self._alive = True
            await asyncio.sleep(settings.heartbeat_s)

    def _view(self, alert: Alert) -> AlertView:
        now = self._clock()
        covering = [
            one.until
            for one in self._silences.values()
            if Silence(rule=one.rule or "", session=one.session or "", until=one.until).covers(alert, now)
        ]
        return AlertView(
            id=alert.id,
            rule=alert.rule,
            session=alert.session or None,
            severity=alert.severity,
            phase=alert.phase,
            text=alert.text,
            remedy=RULES[alert.rule].remedy.replace(" ID", f" {alert.session}"),
            since=alert.since,
            ended_at=alert.ended_at,
            told_at=alert.told_at,
            acknowledged_by=alert.acknowledged_by,
            silenced_until=max(covering, default=None),
        )


def rule_views() -> list[RuleView]:
    """All rules, for those who ask what is watched."""
    return [
        RuleView(
            rule=name,
            severity=rule.severity,
            meaning=rule.meaning,
            remedy=rule.remedy,
            hold_s=rule.hold_s,
            person=rule.person,
        )
        for name, rule in RULES.items()
    ]


async def _put(connection: aiosqlite.Connection, alert: Alert, *, ended: bool) -> None:
    """`ended`: nothing remains to be done about it."""
    await connection.execute(
        "INSERT OR REPLACE INTO alerts (id, rule, subject, phase, state, ended_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            alert.id,
            alert.rule,
            alert.session,
            alert.phase,
            msgspec.json.encode(alert).decode(),
            alert.ended_at if ended else None,
        ),
    )


def _operators(settings: AlertSettings) -> list[str]:
    return [*settings.urls, *([settings.webhook_url] if settings.webhook_url else [])]


def _tell_log(telling: Telling) -> None:
    """The log has every alert too: it is there when no other way is."""
    alert = telling.alert
    _log.warning("alert", news=telling.news, rule=alert.rule, session=alert.session or None, text=alert.text)
