"""Figures from the ledger: by reason, by hour, how long between losses, how long until back. Pure functions."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from appliance.history.settings import HOUR_S
from appliance.model_history import Disconnection, HistoryStats, HourCount, ReasonCount, Recovery, SessionUptime
from appliance.sessions.policy import Action
from appliance.sessions.reasons import REASONS, DisconnectReason, Severity

ASKED: Final = frozenset(reason.value for reason, info in REASONS.items() if info.severity is Severity.NONE)
"""Somebody asked for it, or it belongs to linking: no disconnection in the sense of a complaint."""
BY_ITSELF: Final = frozenset({Action.REDIAL.value, Action.RESTART.value, Action.COOL.value})
"""Decisions after which the appliance tries again without anybody's help; only these have a recovery to be measured."""
HOURS_MAX: Final = 24 * 31
"""Longer histories are not counted by hour: nobody reads a thousand bars."""


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Nearest rank: the smallest of the ordered values that at least `percent` of them do not exceed; so it is always
    a value that occurred. None if there are none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def recovery_of(rows: Iterable[Disconnection]) -> Recovery:
    """Of losses after which the appliance tried by itself."""
    took: list[float] = []
    still_open = 0
    for row in rows:
        if row.reason in ASKED or row.decision not in BY_ITSELF:
            continue
        if row.recovery_s is None:
            still_open += 1
        else:
            took.append(row.recovery_s)
    took.sort()
    return Recovery(
        count=len(took),
        p50_s=percentile(took, 50),
        p95_s=percentile(took, 95),
        p99_s=percentile(took, 99),
        open=still_open,
    )


def by_reason(rows: Iterable[Disconnection]) -> list[ReasonCount]:
    """Most frequent first."""
    counts = collections.Counter(row.reason for row in rows)
    known = frozenset(DisconnectReason)
    return [
        ReasonCount(reason=reason, text=REASONS[DisconnectReason(reason)].text if reason in known else "", count=count)
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def by_hour(rows: Iterable[Disconnection], since: float, until: float) -> list[HourCount]:
    """Every whole hour from the one of `since` to the one of `until`, the empty ones too; at most the last
    `HOURS_MAX`."""
    first, last = math.floor(since / HOUR_S), math.floor(until / HOUR_S)
    first = max(first, last - HOURS_MAX + 1)
    counts = collections.Counter(math.floor(row.at / HOUR_S) for row in rows)
    return [HourCount(start=hour * HOUR_S, count=counts[hour]) for hour in range(first, last + 1)]


def mean_between(online_s: float, losses: int) -> float | None:
    """Time online for each loss; None if there was no loss."""
    return online_s / losses if losses else None


def history_stats(
    rows: Sequence[Disconnection],
    since: float,
    until: float,
    shares: Mapping[str, tuple[float | None, float | None, float | None]],
    online_s: Mapping[str, float],
) -> HistoryStats:
    """All figures of one period. `shares`: per session, of the last day, week and month; `online_s`: how long each
    was online within the period."""
    counted = [row for row in rows if row.reason not in ASKED]
    losses = collections.Counter(row.session for row in counted)
    sessions = [
        SessionUptime(
            session=session,
            day=day,
            week=week,
            month=month,
            disconnections=losses[session],
            mean_between_s=mean_between(online_s.get(session, 0.0), losses[session]),
        )
        for session, (day, week, month) in sorted(shares.items())
    ]
    return HistoryStats(
        since=since,
        until=until,
        total=len(counted),
        asked=len(rows) - len(counted),
        by_reason=by_reason(counted),
        by_hour=by_hour(counted, since, until),
        sessions=sessions,
        recovery=recovery_of(counted),
        mean_between_s=mean_between(sum(online_s.values()), len(counted)),
    )
