"""What history and alerts say across a boundary: the API's bodies about disconnections, uptime, alerts and persons.

Like `appliance.model` it imports nothing else of ours, so that the TUI, the CLI and the client can use it. Times are
seconds since the epoch, UTC; durations are seconds; shares are between 0 and 1, and None where nothing is known.
"""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.model import SESSION_ID_PATTERN

SessionId = Annotated[str, Meta(pattern=f"^{SESSION_ID_PATTERN.pattern}$", max_length=32)]


class Disconnection(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger: one loss of a connection that had logged in."""

    id: int
    session: str
    at: float
    reason: str
    text: str
    """The reason in plain language."""
    signal: str
    """What the engine or the process did."""
    code: int | None
    """WhatsApp's number, if it gave one."""
    raw: str
    """WhatsApp's node, without any message content; phone numbers are masked."""
    uptime_s: float | None
    connected_at: float | None
    """When the connection that was lost had logged in."""
    decision: str
    charged: bool
    """Whether it counted against the session's hourly budget."""
    back_at: float | None
    recovery_s: float | None
    engine: str
    whatsapp: str


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next` is the `before` of the following page; None on the last one."""

    items: list[Disconnection]
    next: int | None = None


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True):
    reason: str
    text: str
    count: int


class HourCount(msgspec.Struct, frozen=True, kw_only=True):
    """Disconnections within the hour that begins at `start`."""

    start: float
    count: int


class SessionUptime(msgspec.Struct, frozen=True, kw_only=True):
    """How reliable one session was; time in which nobody wanted it to run does not count."""

    session: str
    day: float | None
    week: float | None
    month: float | None
    disconnections: int
    mean_between_s: float | None
    """Time online divided by disconnections; None if there was none."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How long it took to be back, of the losses after which the appliance tried again by itself."""

    count: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    open: int
    """Of those, not yet back."""


class HistoryStats(msgspec.Struct, frozen=True, kw_only=True):
    """`total` and all that follows leave out what somebody asked for: stops, restarts, new links."""

    since: float
    until: float
    total: int
    asked: int
    """Disconnections that were left out because somebody had asked for them."""
    by_reason: list[ReasonCount]
    by_hour: list[HourCount]
    sessions: list[SessionUptime]
    recovery: Recovery
    mean_between_s: float | None


class UptimeSpan(enum.StrEnum):
    """How far back, and in what steps."""

    DAY = "24h"
    """1440 minutes."""
    MONTH = "30d"
    """720 hours."""
    YEAR = "365d"
    """365 days."""


class UptimeStrip(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the time online, oldest first; the last slot is the present one."""

    session: str
    span: UptimeSpan
    start: float
    slot_s: float
    values: list[float | None]
    share: float | None
    """Of the whole span."""


class AlertRule(enum.StrEnum):
    DISCONNECTION_RATE = "disconnection_rate"
    OFFLINE = "offline"
    UNSTABLE = "unstable"
    NEEDS_PAIRING = "needs_pairing"
    REPLACED = "replaced"
    BANNED = "banned"
    COOLING = "cooling"
    CRASH_LOOP = "crash_loop"
    OUTDATED = "outdated"
    MEMORY = "memory"
    FORK_SERVER = "fork_server"
    STORAGE = "storage"
    REDIS = "redis"
    SETTINGS = "settings"
    LEASE = "lease"
    WEBHOOKS = "webhooks"
    QUOTA = "quota"
    PAIRING_RATE = "pairing_rate"
    PHONE_UNSEEN = "phone_unseen"


class AlertPhase(enum.StrEnum):
    PENDING = "pending"
    """Alarming, but not for long enough yet; nobody was told."""
    DOWN = "down"
    """Alarming."""
    UP = "up"
    """All is well again."""


class AlertSeverity(enum.StrEnum):
    WARNING = "warning"
    ALERT = "alert"
    PAGE = "page"
    """Told at any hour: it concerns everybody."""


class AlertView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    rule: AlertRule
    session: str | None
    """None: it concerns the appliance."""
    severity: AlertSeverity
    phase: AlertPhase
    text: str
    remedy: str
    since: float
    ended_at: float | None = None
    told_at: float | None = None
    """When it was last told to the operators."""
    acknowledged_by: str | None = None
    silenced_until: float | None = None


class SilenceView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    rule: AlertRule | None
    session: str | None
    until: float
    created_at: float
    comment: str = ""


class SilenceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing that matches is told until then. Without `rule` and `session` it matches everything."""

    duration_s: Annotated[float, Meta(gt=0, le=90 * 86_400)]
    rule: AlertRule | None = None
    session: SessionId | None = None
    comment: Annotated[str, Meta(max_length=200)] = ""


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    rule: AlertRule
    severity: AlertSeverity
    meaning: str
    remedy: str
    hold_s: float
    """It must be alarming for so long before anybody is told."""
    person: bool
    """Whether the session's person is told too."""


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one test message; the target is shown without its secrets."""

    target: str
    delivered: bool
    seconds: float
    error: str = ""


class Language(enum.StrEnum):
    EN = "en"
    FR = "fr"


class PersonView(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told when a session needs a human. The contact is shown without its secrets."""

    session: str
    name: str
    language: Language
    contact: str


class PersonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`contact`: an apprise URL (mailto://…, tgram://…, ntfy://…), or https://… for a signed webhook."""

    name: Annotated[str, Meta(min_length=1, max_length=80)]
    language: Language
    contact: Annotated[str, Meta(min_length=5, max_length=500, pattern=r"^[A-Za-z][A-Za-z0-9+.\-]*://[!-~]+$")]


class UptimeList(msgspec.Struct, frozen=True, kw_only=True):
    strips: list[UptimeStrip]


class AlertList(msgspec.Struct, frozen=True, kw_only=True):
    """Open ones first, then ended ones; newest first."""

    alerts: list[AlertView]


class RuleList(msgspec.Struct, frozen=True, kw_only=True):
    rules: list[RuleView]


class SilenceList(msgspec.Struct, frozen=True, kw_only=True):
    silences: list[SilenceView]


class TrialRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without a session the operators are told, with one its person."""

    session: SessionId | None = None


class TrialOutcomes(msgspec.Struct, frozen=True, kw_only=True):
    outcomes: list[TrialOutcome]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every condition must hold; times are seconds since the epoch, `until` is exclusive."""

    session: SessionId | None = None
    reason: Annotated[str, Meta(max_length=40)] | None = None
    since: float | None = None
    until: float | None = None
    before: Annotated[int, Meta(ge=1)] | None = None
    """`next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class UptimeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    span: UptimeSpan = UptimeSpan.DAY
    session: SessionId | None = None
    parts: Annotated[int, Meta(ge=1, le=1440)] | None = None
    """Sum slots up to so many parts of equal length: a divisor of the span's number of slots."""


class AlertQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    session: SessionId | None = None
    ended_since: float | None = None
    """Ended alerts since then, too; without it those of the last day."""


class LogSource(enum.StrEnum):
    """Who wrote a line."""

    DAEMON = "daemon"
    SESSION = "session"


class LogLevel(enum.StrEnum):
    """How much a line matters, the least first."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    def includes(self, level: str) -> bool:
        """Whether a line of that level matters so much; one of an unknown level does."""
        order = list(LogLevel)
        try:
            return order.index(LogLevel(level)) >= order.index(self)
        except ValueError:
            return True


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a log, masked."""

    at: float
    source: LogSource
    session: str | None
    level: str
    """debug, info, warning, error or critical."""
    text: str


class LogsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every condition must hold."""

    lines: Annotated[int, Meta(ge=0, le=2000)] = 200
    """Begin with so many old ones."""
    follow: bool = False
    """Go on with new ones until the client leaves."""
    level: LogLevel = LogLevel.INFO
    """Lines that matter less are left out."""
    source: LogSource | None = None
    session: SessionId | None = None
    """Only what this session's process says."""


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    lines: Annotated[int, Meta(ge=0, le=10_000)] = 200
    """Begin with so many old ones."""
    follow: bool = False
    """Go on with new ones until the client leaves."""
