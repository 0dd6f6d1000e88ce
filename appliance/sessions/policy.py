"""What happens after a failure: a pure function of reason, history, settings, time and chance.

Two limits hold whatever happens. Each new process waits for a full-jitter backoff (exponent = failures since the
session was last online for long, and dials that did not get through since its last login: a login proves that what was
in their way is gone). Such dials have a lower cap, because WhatsApp sees nothing of them. The death of the fork server
adds nothing: whoever starts it again waits, and all its workers come back one after the other anyway. And failures that
are the session's own are charged to an hourly budget; when it is used up the session cools down, each time twice as
long. The history is stored: a restart of the daemon grants nothing.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import SessionState
from appliance.sessions.reasons import ENDED_WITH_ALL, FINAL_STATES, REASONS, Charge, DisconnectReason, ReasonClass
from appliance.sessions.settings import ReconnectSettings

HOUR_S: Final = 3600.0
MAX_EXPONENT: Final = 30
"""Beyond any cap; keeps the power finite."""


_DIALS: Final = frozenset(
    {DisconnectReason.DIAL_FAILED, DisconnectReason.LOGIN_TIMEOUT, DisconnectReason.PROXY_UNUSABLE}
)
"""WhatsApp was not reached, so nothing is known of what it thinks of the session."""


class Action(enum.StrEnum):
    """What is done about a failure; the word in the ledger."""

    REDIAL = "redial"
    """The engine is already at it; nothing but its deadline is ours."""
    RESTART = "restart"
    COOL = "cool"
    SLEEP = "sleep"
    """Until a temporary ban is over."""
    FAIL = "fail"
    NEVER = "never"
    """Somebody must act first."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy remembers of a session. Times are seconds on the daemon's steady clock."""

    charged: tuple[float, ...] = ()
    """When charged failures happened, within the last hour."""
    crashes: tuple[float, ...] = ()
    """When charged crashes happened, within their window."""
    episode: int = 0
    """Charges since a connection last held; a single one is taken back when the next connection holds."""
    failures: int = 0
    """Failures since the session was last online for long: the exponent of the backoff, …"""
    dials: int = 0
    """… together with dials in a row that did not get through, and whatever an outage made of them."""
    refusals: int = 0
    """Unknown refusals in a row."""
    coolings: int = 0
    excused_at: float | None = None
    """When a charge was last taken back, because many sessions had the same trouble."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One failure. `uptime_s` is None if it never logged in; `redialing`: the engine lives and tries again by itself;
    `excused`: it is not the session's own doing (an outage, the restart that follows linking), or was charged."""

    reason: DisconnectReason
    uptime_s: float | None = None
    redialing: bool = False
    excused: bool = False
    ban_s: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do, what the session's state is meanwhile, and its new history. `delay_s` is None where only a command
    or another session's success ends it."""

    action: Action
    state: SessionState
    history: History
    delay_s: float | None = None
    charged: bool = False


def decide(failure: Failure, history: History, settings: ReconnectSettings, now: float, chance: float) -> Decision:
    """Judge one failure. `chance` is uniform in [0, 1)."""
    kind = REASONS[failure.reason].kind
    history = _forget(history, failure.uptime_s, settings, now)
    if kind in FINAL_STATES:
        return Decision(action=Action.NEVER, state=FINAL_STATES[kind], history=history)
    if kind is ReasonClass.TEMPORARY_BAN:
        wait = failure.ban_s if failure.ban_s is not None and failure.ban_s > 0 else settings.ban_default_s
        return Decision(
            action=Action.SLEEP,
            state=SessionState.BANNED,
            history=history,
            delay_s=wait + settings.ban_margin_s * (1 + chance),
        )
    charged = is_charged(failure, settings)
    if charged:
        history = _charge(failure, history, now)
    if len(history.crashes) >= settings.crash_limit and charged:
        return Decision(action=Action.FAIL, state=SessionState.FAILED, history=history, charged=True)
    if charged and is_used_up(history, settings):
        pause = min(settings.cooling_cap_s, settings.cooling_base_s * 2 ** min(history.coolings, MAX_EXPONENT))
        history = msgspec.structs.replace(history, coolings=history.coolings + 1, refusals=0)
        return Decision(action=Action.COOL, state=SessionState.COOLING, history=history, delay_s=pause, charged=True)
    if failure.redialing:
        return Decision(action=Action.REDIAL, state=SessionState.RECONNECTING, history=history, charged=charged)
    delay = _backoff(failure, history, settings, chance)
    history = _count(failure, history)
    return Decision(
        action=Action.RESTART, state=SessionState.RECONNECTING, history=history, delay_s=delay, charged=charged
    )


def is_charged(failure: Failure, settings: ReconnectSettings) -> bool:
    """Whether a failure is the session's own."""
    charge = REASONS[failure.reason].charge
    if failure.excused or charge is Charge.NEVER:
        return False
    return charge is Charge.ALWAYS or failure.uptime_s is None or failure.uptime_s < settings.stable_after_s


def forgive(history: History) -> History:
    """The history with which an operator's own start begins: one attempt at once, after which the old charges count
    again; a session that had failed may crash anew."""
    return msgspec.structs.replace(history, crashes=(), failures=0, dials=0, refusals=0)


def excuse(history: History, window_s: float, now: float) -> History:
    """Take the latest charge back: many sessions were lost within the same `window_s`, so it was not this one's doing.
    At most once in such a window, so that a whole fleet that is let in and closed at once is charged all the same."""
    if history.excused_at is not None and now - history.excused_at < window_s:
        return history
    if not history.charged or now - max(history.charged) > window_s:
        return history
    charged = sorted(history.charged)
    return msgspec.structs.replace(
        history, charged=tuple(charged[:-1]), episode=max(0, history.episode - 1), excused_at=now
    )


def _forget(history: History, uptime_s: float | None, settings: ReconnectSettings, now: float) -> History:
    """Drop what is over: by age, and by what the connection that just ended has proved. Times in the future (the
    machine's clock was set back while the daemon was away) count as now: that never grants an attempt."""
    charged = tuple(min(at, now) for at in history.charged if now - HOUR_S < at)
    crashes = tuple(min(at, now) for at in history.crashes if now - settings.crash_window_s < at)
    episode, failures, refusals, coolings = history.episode, history.failures, history.refusals, history.coolings
    dials = history.dials
    if uptime_s is not None:
        refusals = dials = 0
        if uptime_s >= settings.stable_after_s:
            if episode == 1:  # healed at the first try
                last = max(charged, default=None)
                charged = charged[:-1]
                crashes = tuple(at for at in crashes if at != last)
            episode = 0
        if uptime_s >= settings.reset_after_s:
            failures = coolings = 0
    return History(
        charged=charged,
        crashes=crashes,
        episode=episode,
        failures=failures,
        dials=dials,
        refusals=refusals,
        coolings=coolings,
        excused_at=None if history.excused_at is None else min(history.excused_at, now),
    )


def _charge(failure: Failure, history: History, now: float) -> History:
    kind = REASONS[failure.reason].kind
    return msgspec.structs.replace(
        history,
        charged=(*history.charged, now),
        crashes=(*history.crashes, now) if kind is ReasonClass.CRASH else history.crashes,
        episode=history.episode + 1,
        refusals=history.refusals + 1 if kind is ReasonClass.UNKNOWN else history.refusals,
    )


def is_used_up(history: History, settings: ReconnectSettings) -> bool:
    """Whether there is nothing left of the hourly budget."""
    return len(history.charged) >= settings.attempts_per_hour or history.refusals >= settings.unknown_tries


def _backoff(failure: Failure, history: History, settings: ReconnectSettings, chance: float) -> float:
    """Nothing for a connection that had held: its first retry heals most faults. Otherwise full jitter: a uniform part
    of the exponential step, so that sessions that failed together do not come back together."""
    if failure.uptime_s is not None and failure.uptime_s >= settings.stable_after_s and history.failures == 0:
        return 0.0
    if failure.reason in ENDED_WITH_ALL:
        return chance * settings.backoff_base_s
    exponent = min(history.failures + history.dials, MAX_EXPONENT)
    cap_s = settings.dial_cap_s if _is_dial(failure) else settings.backoff_cap_s
    return chance * min(cap_s, settings.backoff_base_s * 2.0**exponent)


def _count(failure: Failure, history: History) -> History:
    """One more step of the backoff, if this failure is one."""
    if failure.reason in ENDED_WITH_ALL:
        return history
    if _is_dial(failure) or (failure.excused and failure.uptime_s is None):
        return msgspec.structs.replace(history, dials=min(history.dials + 1, MAX_EXPONENT))
    return msgspec.structs.replace(history, failures=min(history.failures + 1, MAX_EXPONENT))


def _is_dial(failure: Failure) -> bool:
    """Whether WhatsApp was not reached at all."""
    return failure.uptime_s is None and failure.reason in _DIALS
