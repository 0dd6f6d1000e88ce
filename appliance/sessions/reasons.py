"""Why a session was disconnected: one enum, and one table of what each reason means for everybody who asks.

Policy, ledger, alert rules and screens go by this table and by nothing else. A reason is found from codes and kinds of
signals, never from words in a text: "conflict" stands in both `replaced` and `device_removed`.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import SessionState
from appliance.protocol import Signal, SignalKind, WorkerExit


class DisconnectReason(enum.StrEnum):
    SOCKET_CLOSED = "socket_closed"
    SERVER_ERROR = "server_error"
    LOGIN_CLOSED = "login_closed"
    DIAL_FAILED = "dial_failed"
    LOGIN_TIMEOUT = "login_timeout"
    PROXY_UNUSABLE = "proxy_unusable"
    HALF_OPEN = "half_open"
    SILENT_RECONNECT = "silent_reconnect"
    ENGINE_ENDED = "engine_ended"
    LOOP_BLOCKED = "loop_blocked"
    PROCESS_SILENT = "process_silent"
    START_FAILED = "start_failed"
    MEMORY = "memory"
    RESTART_REQUIRED = "restart_required"
    REPLACED = "replaced"
    DEVICE_REMOVED = "device_removed"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_BANNED = "account_banned"
    TEMPORARY_BAN = "temporary_ban"
    OUTDATED = "outdated"
    UNKNOWN_REFUSAL = "unknown_refusal"
    CRASH = "crash"
    FORK_SERVER_LOST = "fork_server_lost"
    FOUND_ENDED = "found_ended"
    ENDED_OUTSIDE = "ended_outside"
    STOPPED = "stopped"
    RESTARTED = "restarted"
    MOVED = "moved"
    SUPERSEDED = "superseded"


class ReasonClass(enum.StrEnum):
    """What kind of trouble it is: it decides what happens next."""

    TRANSIENT = "transient"
    """The engine redials by itself; otherwise the process is replaced."""
    EXPECTED = "expected"
    """Part of a normal course."""
    DEGRADED = "degraded"
    """Connected in name only: the process is replaced."""
    REPLACED = "replaced"
    NEEDS_PAIRING = "needs_pairing"
    BANNED = "banned"
    TEMPORARY_BAN = "temporary_ban"
    OUTDATED = "outdated"
    UNKNOWN = "unknown"
    CRASH = "crash"
    OWN = "own"
    """We ended it ourselves."""


class Severity(enum.StrEnum):
    """How loudly it is told."""

    NONE = "none"
    RATE = "rate"
    """Only when it happens to many or often; grouped."""
    REPEATED = "repeated"
    """When it happens to the same session again."""
    ALERT = "alert"
    PAGE = "page"
    """At once, at any hour: it concerns everybody."""


class Charge(enum.StrEnum):
    """Whether it counts against the session's own hourly budget."""

    NEVER = "never"
    ALWAYS = "always"
    """WhatsApp answered the login with a refusal or a close."""
    IF_EARLY = "if_early"
    """Only when the connection had not held long enough to have been accepted."""


class ReasonInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a reason means. `outage`: many of it at once are a trouble of the network, not of the sessions."""

    kind: ReasonClass
    severity: Severity
    charge: Charge
    text: str
    outage: bool = False


_T, _D, _O = ReasonClass.TRANSIENT, ReasonClass.DEGRADED, ReasonClass.OWN


def _info(kind: ReasonClass, severity: Severity, charge: Charge, text: str, *, outage: bool = False) -> ReasonInfo:
    return ReasonInfo(kind=kind, severity=severity, charge=charge, text=text, outage=outage)


REASONS: Final[dict[DisconnectReason, ReasonInfo]] = {
    DisconnectReason.SOCKET_CLOSED: _info(
        _T, Severity.RATE, Charge.IF_EARLY, "The connection to WhatsApp was closed.", outage=True
    ),
    DisconnectReason.SERVER_ERROR: _info(
        _T, Severity.RATE, Charge.IF_EARLY, "WhatsApp ended the connection with an error of its own.", outage=True
    ),
    DisconnectReason.LOGIN_CLOSED: _info(
        _T, Severity.RATE, Charge.ALWAYS, "WhatsApp closed the connection before the login was complete.", outage=True
    ),
    DisconnectReason.DIAL_FAILED: _info(
        _T, Severity.RATE, Charge.NEVER, "WhatsApp could not be reached.", outage=True
    ),
    DisconnectReason.LOGIN_TIMEOUT: _info(
        _T, Severity.RATE, Charge.NEVER, "The login was not answered in time.", outage=True
    ),
    DisconnectReason.PROXY_UNUSABLE: _info(
        _T, Severity.REPEATED, Charge.NEVER, "The session's proxy cannot be used, and it is never bypassed."
    ),
    DisconnectReason.HALF_OPEN: _info(
        _D, Severity.REPEATED, Charge.NEVER, "WhatsApp no longer answered on an open connection.", outage=True
    ),
    DisconnectReason.SILENT_RECONNECT: _info(
        _D, Severity.REPEATED, Charge.NEVER, "The engine replaced a connection that had gone silent.", outage=True
    ),
    DisconnectReason.ENGINE_ENDED: _info(
        _T, Severity.REPEATED, Charge.IF_EARLY, "The engine gave up and ended its process."
    ),
    DisconnectReason.LOOP_BLOCKED: _info(
        _D, Severity.REPEATED, Charge.NEVER, "The session's process was busy with itself and no longer reacted."
    ),
    DisconnectReason.PROCESS_SILENT: _info(
        _D, Severity.REPEATED, Charge.NEVER, "The session's process stopped reporting."
    ),
    DisconnectReason.START_FAILED: _info(
        ReasonClass.CRASH, Severity.ALERT, Charge.ALWAYS, "The session's process could not be started."
    ),
    DisconnectReason.MEMORY: _info(
        _D, Severity.ALERT, Charge.NEVER, "The session's process used too much memory and was restarted."
    ),
    DisconnectReason.RESTART_REQUIRED: _info(
        ReasonClass.EXPECTED, Severity.NONE, Charge.IF_EARLY, "WhatsApp asked for the restart that follows linking."
    ),
    DisconnectReason.REPLACED: _info(
        ReasonClass.REPLACED, Severity.ALERT, Charge.NEVER, "Another program logged in with this session's credentials."
    ),
    DisconnectReason.DEVICE_REMOVED: _info(
        ReasonClass.NEEDS_PAIRING, Severity.ALERT, Charge.NEVER, "The linked device was removed, usually on the phone."
    ),
    DisconnectReason.ACCOUNT_LOCKED: _info(
        ReasonClass.NEEDS_PAIRING, Severity.ALERT, Charge.NEVER, "WhatsApp locked the account, or its phone is gone."
    ),
    DisconnectReason.ACCOUNT_BANNED: _info(
        ReasonClass.BANNED, Severity.ALERT, Charge.NEVER, "WhatsApp refuses this account, probably because of a ban."
    ),
    DisconnectReason.TEMPORARY_BAN: _info(
        ReasonClass.TEMPORARY_BAN, Severity.ALERT, Charge.NEVER, "WhatsApp banned this account for a while."
    ),
    DisconnectReason.OUTDATED: _info(
        ReasonClass.OUTDATED, Severity.PAGE, Charge.NEVER, "WhatsApp no longer accepts this version of the engine."
    ),
    DisconnectReason.UNKNOWN_REFUSAL: _info(
        ReasonClass.UNKNOWN, Severity.ALERT, Charge.ALWAYS, "WhatsApp refused the login with a code that is not known."
    ),
    DisconnectReason.CRASH: _info(
        ReasonClass.CRASH, Severity.ALERT, Charge.IF_EARLY, "The session's process died."
    ),
    DisconnectReason.FORK_SERVER_LOST: _info(
        _O, Severity.RATE, Charge.NEVER, "The parent of all sessions' processes ended; it was started again."
    ),
    DisconnectReason.FOUND_ENDED: _info(
        _O,
        Severity.RATE,
        Charge.NEVER,
        "The appliance had not been running: it was stopped, or the machine was restarted.",
    ),
    DisconnectReason.ENDED_OUTSIDE: _info(
        _O, Severity.REPEATED, Charge.NEVER, "Somebody else ended the session's process in order."
    ),
    DisconnectReason.STOPPED: _info(_O, Severity.NONE, Charge.NEVER, "It was stopped."),
    DisconnectReason.RESTARTED: _info(_O, Severity.NONE, Charge.NEVER, "It was restarted by the operator."),
    DisconnectReason.MOVED: _info(
        _O, Severity.NONE, Charge.NEVER, "It was moved to another release or engine, as planned."
    ),
    DisconnectReason.SUPERSEDED: _info(
        _O, Severity.NONE, Charge.NEVER, "A new link of the same session took its place."
    ),
}  # fmt: skip

ENDED_WITH_ALL: Final = frozenset({DisconnectReason.FORK_SERVER_LOST, DisconnectReason.FOUND_ENDED})
"""Every session's process ended at the same moment: no news about any of them, and all are started again in turn."""

FINAL_STATES: Final[dict[ReasonClass, SessionState]] = {
    ReasonClass.REPLACED: SessionState.REPLACED,
    ReasonClass.NEEDS_PAIRING: SessionState.NEEDS_PAIRING,
    ReasonClass.BANNED: SessionState.BANNED,
    ReasonClass.OUTDATED: SessionState.OUTDATED,
}
"""Classes after which nothing is tried again by itself, and the state that says so."""

_STREAM_CODES: Final[dict[int, DisconnectReason]] = {
    401: DisconnectReason.DEVICE_REMOVED,
    405: DisconnectReason.OUTDATED,
    408: DisconnectReason.SOCKET_CLOSED,
    428: DisconnectReason.SOCKET_CLOSED,
    440: DisconnectReason.REPLACED,
    500: DisconnectReason.SERVER_ERROR,
    503: DisconnectReason.SERVER_ERROR,
    515: DisconnectReason.RESTART_REQUIRED,
}
"""Codes of `<stream:error>` on a connection that was logged in; 408, 428 and 440 are names that other clients gave to
a lost and a replaced connection. The engine redials after any other, so an unknown one is an error of the server."""
_LOGIN_CODES: Final[dict[int, DisconnectReason]] = {
    401: DisconnectReason.DEVICE_REMOVED,
    402: DisconnectReason.TEMPORARY_BAN,
    403: DisconnectReason.ACCOUNT_LOCKED,
    405: DisconnectReason.OUTDATED,
    406: DisconnectReason.ACCOUNT_BANNED,
    500: DisconnectReason.LOGIN_CLOSED,
    503: DisconnectReason.LOGIN_CLOSED,
}
"""Codes of `<failure>`, WhatsApp's refusal of a login."""


def classify(signal: Signal) -> DisconnectReason | None:
    """The reason that a signal stands for; None if the connection is not lost by it."""
    match signal.kind:
        case SignalKind.CONNECTED | SignalKind.KEEPALIVE_TIMEOUT | SignalKind.KEEPALIVE_RESTORED:
            return None
        case SignalKind.DISCONNECTED:
            return DisconnectReason.LOGIN_CLOSED if signal.connected_at is None else DisconnectReason.SOCKET_CLOSED
        case SignalKind.DIAL_FAILED:
            return DisconnectReason.DIAL_FAILED
        case SignalKind.STREAM_ERROR:
            return _STREAM_CODES.get(signal.code or 0, DisconnectReason.SERVER_ERROR)
        case SignalKind.STREAM_REPLACED:
            return DisconnectReason.REPLACED
        case SignalKind.LOGGED_OUT:
            return _LOGIN_CODES.get(signal.code or 401, DisconnectReason.DEVICE_REMOVED)
        case SignalKind.TEMPORARY_BAN:
            return DisconnectReason.TEMPORARY_BAN
        case SignalKind.CLIENT_OUTDATED:
            return DisconnectReason.OUTDATED
        case SignalKind.CONNECT_FAILURE:
            return _LOGIN_CODES.get(signal.code or 0, DisconnectReason.UNKNOWN_REFUSAL)
        case SignalKind.ENGINE_ENDED:
            return DisconnectReason.ENGINE_ENDED


_EXITS: Final[dict[int, tuple[DisconnectReason, str]]] = {
    WorkerExit.STOPPED: (DisconnectReason.ENDED_OUTSIDE, ""),
    WorkerExit.STORE_LOCKED: (DisconnectReason.START_FAILED, "another process works on its store"),
    WorkerExit.SUPERSEDED: (DisconnectReason.START_FAILED, "its store belongs to a newer generation"),
    WorkerExit.ENGINE_REFUSED: (DisconnectReason.START_FAILED, "the engine's library is not one that was tested"),
    WorkerExit.ENGINE_ENDED: (DisconnectReason.ENGINE_ENDED, ""),
    WorkerExit.DIAL_FAILED: (DisconnectReason.DIAL_FAILED, ""),
    WorkerExit.PAIRING_FAILED: (DisconnectReason.DEVICE_REMOVED, "its store holds no credentials"),
    WorkerExit.STORE_BROKEN: (DisconnectReason.START_FAILED, "its store cannot be opened; restore a backup"),
    WorkerExit.LOGGED_OUT: (DisconnectReason.DEVICE_REMOVED, "it was unlinked from here"),
    WorkerExit.BAD_SPEC: (DisconnectReason.START_FAILED, "it could not read its orders"),
    WorkerExit.OUT_OF_MEMORY: (DisconnectReason.MEMORY, "it had passed its limit"),
    WorkerExit.SANDBOX_FAILED: (DisconnectReason.START_FAILED, "its sandbox could not be made"),
}


def exit_texts() -> list[str]:
    """What may be particular to a process's end, for those who translate it."""
    return [detail for _reason, detail in _EXITS.values() if detail]


def classify_exit(
    status: int | None, signal: int | None, *, out_of_memory: bool = False
) -> tuple[DisconnectReason, str]:
    """Why a process ended that nobody had told to end: the reason, and what is particular to it. `out_of_memory`: the
    kernel says that it has killed it for that."""
    if signal is not None and out_of_memory:
        return DisconnectReason.MEMORY, "the kernel killed it at its limit"
    if signal is not None:
        return DisconnectReason.CRASH, f"killed by signal {signal}"
    if status in _EXITS:
        return _EXITS[status]
    return DisconnectReason.CRASH, f"exit status {status}"
