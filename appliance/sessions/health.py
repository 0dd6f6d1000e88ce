"""Is this session alive? A pure verdict from evidence that is there anyway: the worker's heartbeats.

A heartbeat says what the engine has heard from WhatsApp and when. Its times are the worker's wall clock, so only
differences within one heartbeat are used, and the time since it arrived is taken from our steady clock. A negative
difference proves that the clock was set meanwhile: it is no evidence, and a probe finds out.

Only doubt comes from old evidence; what proves death is an unanswered probe, a silent process, a blocked loop.
"""

from __future__ import annotations

import enum

import msgspec

from appliance.protocol import Heartbeat
from appliance.sessions.reasons import DisconnectReason
from appliance.sessions.settings import KeepaliveSettings


class Health(enum.StrEnum):
    GOOD = "good"
    DOUBTFUL = "doubtful"
    """Ask WhatsApp something, through the engine."""
    DEAD = "dead"
    """The process must be replaced."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`check_in_s`: when to judge again if no new evidence comes. `warning`: worth telling, not worth acting."""

    health: Health
    text: str = ""
    reason: DisconnectReason | None = None
    check_in_s: float
    warning: DisconnectReason | None = None


class Evidence(msgspec.Struct, kw_only=True):
    """What is known of one process. Times are ours (steady clock)."""

    greeted_at: float
    online_at: float | None = None
    """Since when its engine is logged in."""
    probed_at: float | None = None
    """When WhatsApp last answered a probe."""
    heard_at: float | None = None
    heartbeat: Heartbeat | None = None
    late: int = 0
    """Heartbeats in a row with a late event loop, …"""
    above_soft: int = 0
    """… above the soft and …"""
    above_hard: int = 0
    """… above the hard memory limit."""

    def hear(self, heartbeat: Heartbeat, settings: KeepaliveSettings, now: float) -> None:
        """A heartbeat arrived."""
        self.heartbeat, self.heard_at = heartbeat, now
        self.late = self.late + 1 if heartbeat.loop_lag_s >= settings.loop_lag_max_s else 0
        self.above_soft = self.above_soft + 1 if heartbeat.pss_bytes > settings.memory_soft_bytes else 0
        self.above_hard = self.above_hard + 1 if heartbeat.pss_bytes > settings.memory_hard_bytes else 0


LATE_LIMIT = 3
"""Late reports in a row that prove a blocked loop: one can be a big download or a swapped page."""


def judge(evidence: Evidence, settings: KeepaliveSettings, now: float) -> Verdict:
    """The verdict now."""
    silent_since = evidence.greeted_at if evidence.heard_at is None else evidence.heard_at
    if now - silent_since >= settings.heartbeat_lost_s:
        return _dead(settings, DisconnectReason.PROCESS_SILENT, f"no report for {now - silent_since:.0f} s")
    if evidence.late >= LATE_LIMIT:
        return _dead(settings, DisconnectReason.LOOP_BLOCKED, f"{evidence.late} late reports in a row")
    if evidence.above_hard >= settings.memory_patience and evidence.heartbeat is not None:
        return _dead(settings, DisconnectReason.MEMORY, f"{evidence.heartbeat.pss_bytes >> 20} MiB")
    warning = DisconnectReason.MEMORY if evidence.above_soft >= settings.memory_patience else None
    soonest = settings.check_interval_s
    soonest = min(soonest, silent_since + settings.heartbeat_lost_s - now)
    if evidence.online_at is not None:
        age = now - _newest(evidence, evidence.online_at)
        overdue = _ping_overdue(evidence, settings, now)
        if age >= settings.evidence_max_age_s:
            return _doubtful(settings, f"nothing heard from WhatsApp for {age:.0f} s", warning)
        if overdue is not None and overdue <= 0:
            return _doubtful(settings, "a ping was not answered", warning)
        soonest = min(soonest, settings.evidence_max_age_s - age, soonest if overdue is None else overdue)
    return Verdict(health=Health.GOOD, check_in_s=max(soonest, 0.0), warning=warning)


def _newest(evidence: Evidence, online_at: float) -> float:
    """When WhatsApp was last heard, on our clock."""
    times = [online_at]
    if evidence.probed_at is not None:
        times.append(evidence.probed_at)
    heartbeat, heard_at = evidence.heartbeat, evidence.heard_at
    if heartbeat is not None and heard_at is not None:
        heard = (heartbeat.last_frame_at, heartbeat.ping_answered_at)
        times += [heard_at - (heartbeat.at - at) for at in heard if at is not None and at <= heartbeat.at]
    return max(times)


def _ping_overdue(evidence: Evidence, settings: KeepaliveSettings, now: float) -> float | None:
    """Seconds until the engine's last ping is overdue (0 or less: it is); None if no ping is open."""
    heartbeat, heard_at = evidence.heartbeat, evidence.heard_at
    if heartbeat is None or heard_at is None or heartbeat.ping_sent_at is None:
        return None
    age = heartbeat.at - heartbeat.ping_sent_at
    if age < 0 or (heartbeat.ping_answered_at or 0.0) >= heartbeat.ping_sent_at:
        return None
    sent_at = heard_at - age
    proofs = (evidence.online_at, evidence.probed_at)
    if any(at is not None and at > sent_at for at in proofs):
        return None  # what came after it proves more than its answer would
    return sent_at + settings.ping_answer_s - now


def _dead(settings: KeepaliveSettings, reason: DisconnectReason, text: str) -> Verdict:
    return Verdict(health=Health.DEAD, reason=reason, text=text, check_in_s=settings.check_interval_s)


def _doubtful(settings: KeepaliveSettings, text: str, warning: DisconnectReason | None) -> Verdict:
    return Verdict(health=Health.DOUBTFUL, text=text, check_in_s=settings.probe_timeout_s, warning=warning)
