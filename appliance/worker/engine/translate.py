"""The engine's connection events (protobuf, by number) as our own structs. Pure."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError, Message

from appliance.protocol import SignalKind
from appliance.worker.engine.decode import DecodeFailedError, full
from appliance.worker.engine.events import Account, EngineSignal
from appliance.worker.engine.protos import neonize_pb

ACCOUNT: Final = 0
CONNECTED: Final = 3
LOGGED_OUT: Final = 6
TEMPORARY_BAN: Final = 8
CONNECT_FAILURE: Final = 9
STREAM_ERROR: Final = 11
_PLAIN: Final = {
    CONNECTED: SignalKind.CONNECTED,
    4: SignalKind.KEEPALIVE_TIMEOUT,
    5: SignalKind.KEEPALIVE_RESTORED,
    7: SignalKind.STREAM_REPLACED,
    10: SignalKind.CLIENT_OUTDATED,
    12: SignalKind.DISCONNECTED,
}
"""Events without content."""
SUBSCRIPTIONS: Final = bytes([*_PLAIN, LOGGED_OUT, TEMPORARY_BAN, CONNECT_FAILURE, STREAM_ERROR, 17, 44])
"""The events that we ask the engine for. No history sync (13): asked for, a large one peaks at 300 MiB instead of
200."""
CLOSING: Final = frozenset(
    {
        SignalKind.DISCONNECTED,
        SignalKind.STREAM_REPLACED,
        SignalKind.LOGGED_OUT,
        SignalKind.TEMPORARY_BAN,
        SignalKind.CLIENT_OUTDATED,
        SignalKind.CONNECT_FAILURE,
        SignalKind.ENGINE_ENDED,
    }
)
"""After these the connection is gone."""
REFUSING: Final = CLOSING - {SignalKind.DISCONNECTED, SignalKind.ENGINE_ENDED} | {SignalKind.STREAM_ERROR}
"""These have a stanza of WhatsApp's behind them."""
_REASON_CODES: Final = {1: 400, 2: 401, 3: 402, 4: 403, 5: 406, 6: 405, 7: 409, 8: 500, 9: 501, 10: 503}
"""The engine's enum of connect failures → WhatsApp's number (whatsmeow, types/events)."""
_REPLACED_CODE: Final = 440
_OUTDATED_CODE: Final = 405
_TEMPORARY_BAN_CODE: Final = 402
_DEFAULT_CODES: Final = {
    SignalKind.STREAM_REPLACED: _REPLACED_CODE,
    SignalKind.CLIENT_OUTDATED: _OUTDATED_CODE,
}


def translate(code: int, payload: bytes) -> EngineSignal | Account | None:
    """One event; None for a number that we did not ask for. Raises DecodeFailedError."""
    if code in _PLAIN:
        kind = _PLAIN[code]
        return EngineSignal(kind=kind, code=_DEFAULT_CODES.get(kind))
    if code == ACCOUNT:
        device = _parse(neonize_pb.Device(), payload)
        return Account(jid=full(device.JID), lid=full(device.LID), platform=device.Platform)
    if code == LOGGED_OUT:
        event = _parse(neonize_pb.LoggedOut(), payload)
        return EngineSignal(kind=SignalKind.LOGGED_OUT, code=_REASON_CODES.get(event.Reason))
    if code == TEMPORARY_BAN:
        event = _parse(neonize_pb.TemporaryBan(), payload)
        return EngineSignal(kind=SignalKind.TEMPORARY_BAN, code=_TEMPORARY_BAN_CODE, expires_s=float(event.Expire))
    if code == CONNECT_FAILURE:
        event = _parse(neonize_pb.ConnectFailure(), payload)
        return EngineSignal(kind=SignalKind.CONNECT_FAILURE, code=_REASON_CODES.get(event.Reason))
    if code == STREAM_ERROR:
        event = _parse(neonize_pb.StreamError(), payload)
        return EngineSignal(kind=SignalKind.STREAM_ERROR, code=int(event.Code) if event.Code.isdigit() else None)
    return None


def _parse(message: Message, payload: bytes) -> Message:
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise DecodeFailedError("a connection event cannot be read") from error
    return message
