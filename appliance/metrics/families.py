"""A snapshot as Prometheus's families of metrics: names, help texts and labels in one place.

What each means for an operator stands in docs/operations.md; dashboard and alert rules in provisioning/ go by these
names.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from appliance import __version__
from appliance.metrics.snapshot import Queue, Snapshot
from appliance.model import Category, SessionState
from appliance.model_history import AlertRule

PARTS: Final = ("disk", "forkserver", "media", "redis", "settings")
"""Shown as 0 while they are well; others only appear when they are not."""

L = TypeVar("L", bound=tuple[str, ...])


def families(now: Snapshot) -> Iterator[Metric]:
    yield _gauge("build_info", "Which release runs; always 1.", {(__version__, platform.python_version()): 1.0},
                 "release", "python")  # fmt: skip
    yield _gauge(
        "degraded",
        "Whether a part of the appliance is degraded.",
        {(part,): float(part in now.degraded) for part in (*PARTS, *now.degraded)},
        "part",
    )
    yield from _sessions(now)
    yield from _workers(now)
    yield from _pairing(now)
    yield from _storage(now)
    yield from _media(now)
    yield from _telling(now)
    yield _plain("disk_free_bytes", "Free bytes where the appliance's data lies.", now.disk_free)
    yield _plain("disk_size_bytes", "Size of the file system where the appliance's data lies.", now.disk_size)


def _sessions(now: Snapshot) -> Iterator[Metric]:
    states = {(state.value,): float(now.states.get(state, 0)) for state in SessionState}
    yield _gauge("sessions", "Sessions by state.", states, "state")
    yield _by_session(
        "session_online",
        "Whether a session is online, as WhatsApp has proved.",
        {view.id: float(view.state is SessionState.ONLINE) for view in now.sessions},
    )
    yield _by_session(
        "session_last_traffic_timestamp_seconds",
        "When a session last heard anything from WhatsApp.",
        {view.id: view.last_traffic_at for view in now.sessions if view.last_traffic_at is not None},
    )
    yield _by_session(
        "session_phone_seen_timestamp_seconds",
        "When a session's own phone was last heard of; WhatsApp unlinks after 14 days.",
        {view.id: view.phone_seen_at for view in now.sessions if view.phone_seen_at is not None},
    )


def _workers(now: Snapshot) -> Iterator[Metric]:
    beats = now.heartbeats
    sizes = [float(beat.pss_bytes) for beat in beats.values()]
    yield _plain("workers", "Processes of sessions that report.", len(beats))
    yield _by_session(
        "worker_pss_bytes",
        "Memory of a session's process, shared pages divided among those who share them, as it last reported.",
        {session: float(beat.pss_bytes) for session, beat in beats.items()},
    )
    yield _plain("workers_pss_sum_bytes", "Memory of all sessions' processes together.", sum(sizes))
    yield _plain("workers_pss_max_bytes", "Memory of the largest session's process.", max(sizes, default=0.0))
    yield _by_session(
        "worker_loop_lag_seconds",
        "The largest delay of the loop of a session's process between its last two reports.",
        {session: beat.loop_lag_s for session, beat in beats.items()},
    )
    yield _plain(
        "workers_loop_lag_max_seconds",
        "The largest of them.",
        max((beat.loop_lag_s for beat in beats.values()), default=0.0),
    )
    yield _plain(
        "workers_inbox_messages",
        "Messages that are recorded and not yet judged by the capture rules, of all sessions.",
        sum(beat.inbox for beat in beats.values()),
    )


def _pairing(now: Snapshot) -> Iterator[Metric]:
    yield _plain("pairing_waiting", "Attempts to link that wait for a slot.", now.line.waiting)
    yield _plain("pairing_oldest_seconds", "How long the oldest of them has waited.", now.line_oldest_s)
    yield _plain("pairing_under_way", "Attempts that hold a slot.", now.line.under_way)
    yield _plain("pairing_slots", "Slots that memory bears now, or that are set.", now.line.slots)


def _storage(now: Snapshot) -> Iterator[Metric]:
    held = now.storage
    sizes = {(one.value,): float(held.categories[one].size if one in held.categories else 0) for one in Category}
    counts = {(one.value,): float(held.categories[one].objects if one in held.categories else 0) for one in Category}
    yield _gauge("storage_bytes", "Bytes as stored, by category.", sizes, "category")
    yield _gauge("storage_objects", "Contents that are stored, by category.", counts, "category")
    yield _plain("storage_used_bytes", "All that counts against the quota, uploads under way included.", held.used)
    yield _plain("storage_in_flight_bytes", "Of them, bytes whose upload or deletion has not ended.", held.in_flight)
    yield _plain("storage_foreign_bytes", "Of them, bytes in the store that are not the appliance's.", held.foreign)
    yield _plain("storage_quota_bytes", "The appliance's quota.", held.quota)
    yield _by_session("session_storage_bytes", "Bytes that are held for a session.", held.sessions)


def _media(now: Snapshot) -> Iterator[Metric]:
    spools, intake = now.spools, now.intake
    yield _plain("spool_items", "Captured items that wait to be stored.", sum(row.items for row in spools))
    yield _plain("spool_bytes", "Their bytes.", sum(row.size for row in spools))
    oldest_s = max((row.oldest_s for row in spools), default=0.0)
    yield _plain("spool_oldest_seconds", "How long the oldest of them has waited.", oldest_s)
    yield _total("media_stored", "Items stored since the daemon started.", intake.stored)
    yield _total("media_refused", "Items for which there was no room, since the daemon started.", intake.refused)
    yield _total("media_set_aside", "Items that could not be stored, since the daemon started.", intake.poisoned)
    yield _total("media_saved_bytes", "Bytes that compression and deduplication saved since then.", intake.saved_bytes)


def _telling(now: Snapshot) -> Iterator[Metric]:
    alerts = GaugeMetricFamily("amda_alerts", "Alerts that are down now.", labels=("rule", "severity"))
    for (rule, severity), number in sorted(now.alerts.items()):
        alerts.add_metric((rule.value, severity.value), number)
    yield alerts
    quiet = {(rule.value,): float(any(rule is down for down, _ in now.alerts)) for rule in AlertRule}
    yield _gauge("alert_rule_down", "Whether any alert of a rule is down.", quiet, "rule")
    yield _plain("alert_messages_waiting", "Messages about alerts that wait to be delivered.", now.messages.waiting)
    yield _plain("alert_messages_oldest_seconds", "How long the oldest has waited.", now.messages.oldest_s)
    yield _webhooks("webhook_waiting", "Deliveries that wait.", now.webhooks, "waiting")
    yield _webhooks("webhook_dead", "Deliveries that were given up and can be sent again.", now.webhooks, "dead")
    yield _webhooks("webhook_oldest_seconds", "How long the oldest delivery has waited.", now.webhooks, "oldest_s")
    yield _total("events", "Events published, by their number: it survives restarts.", now.last_event)
    yield _plain("event_subscribers", "Subscribers of events that have seen all of them.", now.followers)


def _webhooks(name: str, text: str, hooks: Mapping[str, Queue], field: str) -> Metric:
    return _gauge(name, text, {(hook,): float(getattr(queue, field)) for hook, queue in hooks.items()}, "webhook")


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"amda_{name}", text, value=float(value))


def _total(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"amda_{name}", text, value=float(value))


def _by_session(name: str, text: str, values: Mapping[str, float]) -> Metric:
    return _gauge(name, text, {(session,): float(value) for session, value in values.items()}, "session")


def _gauge(name: str, text: str, values: dict[L, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(f"amda_{name}", text, labels=labels)
    for value_labels, value in values.items():
        family.add_metric(value_labels, value)
    return family
