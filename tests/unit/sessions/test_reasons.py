"""Every code of the design's table, and nothing decided by words in a text."""

from __future__ import annotations

import pytest

from appliance.protocol import Signal, SignalKind, WorkerExit
from appliance.sessions.reasons import REASONS, Charge, DisconnectReason, ReasonClass, Severity, classify, classify_exit

R = DisconnectReason
K = SignalKind


@pytest.mark.parametrize(
    ("kind", "code", "connected", "reason"),
    [
        (K.DISCONNECTED, None, True, R.SOCKET_CLOSED),
        (K.DISCONNECTED, None, False, R.LOGIN_CLOSED),
        (K.STREAM_ERROR, 408, True, R.SOCKET_CLOSED),
        (K.STREAM_ERROR, 428, True, R.SOCKET_CLOSED),
        (K.STREAM_ERROR, 500, True, R.SERVER_ERROR),
        (K.STREAM_ERROR, 503, True, R.SERVER_ERROR),
        (K.STREAM_ERROR, 599, True, R.SERVER_ERROR),
        (K.STREAM_ERROR, None, True, R.SERVER_ERROR),
        (K.STREAM_ERROR, 515, False, R.RESTART_REQUIRED),
        (K.STREAM_ERROR, 440, True, R.REPLACED),
        (K.STREAM_ERROR, 401, True, R.DEVICE_REMOVED),
        (K.STREAM_REPLACED, None, True, R.REPLACED),
        (K.LOGGED_OUT, None, True, R.DEVICE_REMOVED),
        (K.LOGGED_OUT, 401, False, R.DEVICE_REMOVED),
        (K.LOGGED_OUT, 403, False, R.ACCOUNT_LOCKED),
        (K.LOGGED_OUT, 406, False, R.ACCOUNT_BANNED),
        (K.TEMPORARY_BAN, 402, False, R.TEMPORARY_BAN),
        (K.CLIENT_OUTDATED, 405, False, R.OUTDATED),
        (K.CONNECT_FAILURE, 400, False, R.UNKNOWN_REFUSAL),
        (K.CONNECT_FAILURE, 409, False, R.UNKNOWN_REFUSAL),
        (K.CONNECT_FAILURE, 415, False, R.UNKNOWN_REFUSAL),
        (K.CONNECT_FAILURE, 418, False, R.UNKNOWN_REFUSAL),
        (K.CONNECT_FAILURE, 501, False, R.UNKNOWN_REFUSAL),
        (K.CONNECT_FAILURE, 401, False, R.DEVICE_REMOVED),
        (K.CONNECT_FAILURE, 402, False, R.TEMPORARY_BAN),
        (K.CONNECT_FAILURE, 403, False, R.ACCOUNT_LOCKED),
        (K.CONNECT_FAILURE, 405, False, R.OUTDATED),
        (K.CONNECT_FAILURE, 406, False, R.ACCOUNT_BANNED),
        (K.CONNECT_FAILURE, 503, False, R.LOGIN_CLOSED),
        (K.DIAL_FAILED, None, False, R.DIAL_FAILED),
        (K.ENGINE_ENDED, None, True, R.ENGINE_ENDED),
    ],
)
def test_signals(kind: K, code: int | None, connected: bool, reason: R) -> None:
    signal = Signal(kind=kind, code=code, connected_at=1.0 if connected else None)
    assert classify(signal) is reason


def test_words_decide_nothing() -> None:
    raw = '<stream:error code="401"><conflict type="device_removed"/></stream:error>'
    assert classify(Signal(kind=K.STREAM_ERROR, code=503, raw=raw, connected_at=1.0)) is R.SERVER_ERROR
    assert classify(Signal(kind=K.DISCONNECTED, raw="replaced conflict", connected_at=1.0)) is R.SOCKET_CLOSED


@pytest.mark.parametrize("kind", [K.CONNECTED, K.KEEPALIVE_TIMEOUT, K.KEEPALIVE_RESTORED])
def test_what_is_no_loss(kind: K) -> None:
    assert classify(Signal(kind=kind)) is None


def test_every_reason_has_an_entry_and_a_sentence() -> None:
    assert set(REASONS) == set(R)
    for info in REASONS.values():
        assert info.text[0].isupper()
        assert info.text.endswith(".")


@pytest.mark.parametrize(
    ("reason", "kind", "severity"),
    [
        (R.SOCKET_CLOSED, ReasonClass.TRANSIENT, Severity.RATE),
        (R.HALF_OPEN, ReasonClass.DEGRADED, Severity.REPEATED),
        (R.RESTART_REQUIRED, ReasonClass.EXPECTED, Severity.NONE),
        (R.REPLACED, ReasonClass.REPLACED, Severity.ALERT),
        (R.DEVICE_REMOVED, ReasonClass.NEEDS_PAIRING, Severity.ALERT),
        (R.ACCOUNT_LOCKED, ReasonClass.NEEDS_PAIRING, Severity.ALERT),
        (R.ACCOUNT_BANNED, ReasonClass.BANNED, Severity.ALERT),
        (R.TEMPORARY_BAN, ReasonClass.TEMPORARY_BAN, Severity.ALERT),
        (R.OUTDATED, ReasonClass.OUTDATED, Severity.PAGE),
        (R.UNKNOWN_REFUSAL, ReasonClass.UNKNOWN, Severity.ALERT),
        (R.CRASH, ReasonClass.CRASH, Severity.ALERT),
    ],
)
def test_alerts_of_the_table(reason: R, kind: ReasonClass, severity: Severity) -> None:
    assert (REASONS[reason].kind, REASONS[reason].severity) == (kind, severity)


def test_what_is_never_charged() -> None:
    free = {reason for reason, info in REASONS.items() if info.charge is Charge.NEVER}
    assert {R.DIAL_FAILED, R.LOGIN_TIMEOUT, R.HALF_OPEN, R.FORK_SERVER_LOST, R.STOPPED, R.RESTARTED} <= free
    assert not free & {R.LOGIN_CLOSED, R.UNKNOWN_REFUSAL, R.CRASH, R.SOCKET_CLOSED, R.RESTART_REQUIRED}


def test_every_exit_status_has_a_reason() -> None:
    for status in WorkerExit:
        reason, _text = classify_exit(status, None)
        assert reason is not R.CRASH, status
    assert classify_exit(1, None)[0] is R.CRASH
    assert classify_exit(None, 9) == (R.CRASH, "killed by signal 9")
    assert classify_exit(None, 9, out_of_memory=True)[0] is R.MEMORY
    assert classify_exit(WorkerExit.OUT_OF_MEMORY, None)[0] is R.MEMORY
    assert classify_exit(WorkerExit.DIAL_FAILED, None)[0] is R.DIAL_FAILED
