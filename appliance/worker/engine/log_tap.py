"""Reads the engine's DEBUG log as it is written: the only place where frames, pings and their answers can be seen.

No content of a message is kept. Lines of the DEBUG level hold whole stanzas, so they are looked at and dropped; what is
written to the worker's log is INFO and above, with long numbers masked.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from appliance.protocol import SignalKind
from appliance.worker.engine.events import EngineSignal
from appliance.worker.engine.first_login import FirstLogin
from appliance.worker.engine.gate import ReceiptGate

_ID: Final = re.compile(r' id="([^"]+)"')
_ATTRIBUTE: Final = re.compile(r' ([a-z_]+)="([^"]*)"')
_UNAVAILABLE: Final = re.compile(r'^Unavailable message (\S+) from .*\(type: "([a-z_]*)"\)')
_UNREADABLE: Final = re.compile(r"^Error decrypting message (\S+) from ")
_IGNORED: Final = re.compile(r"^Ignoring message (\S+) from ")
_LONG_NUMBER: Final = re.compile(r"\d{7,}")
"""Phone numbers and LIDs; seven digits is the shortest subscriber number with country code."""
_REMEMBERED_UNAVAILABLE: Final = 64
"""Between a log line and its event lie at most the hundred events of the engine's channel, nearly all of another
kind."""
_RAW_LIMIT: Final = 512
"""A refusal's stanza is about a hundred bytes."""
_FULL_REFS: Final = 6
_FIRST_REF_S: Final = 60.0
_REF_S: Final = 20.0
"""A QR code lives 20 s; with exactly six references the first one lives 60 s (whatsmeow, qrchan.go)."""
_REFUSALS: Final = {
    401: SignalKind.LOGGED_OUT,
    402: SignalKind.TEMPORARY_BAN,
    403: SignalKind.LOGGED_OUT,
    405: SignalKind.CLIENT_OUTDATED,
    406: SignalKind.LOGGED_OUT,
}
"""Reason of `<failure>` at login → what it means (whatsmeow, connectionevents.go); any other is a connect failure."""


class TrafficTimes(msgspec.Struct, kw_only=True):
    """When what was last seen on the wire."""

    frame_at: float | None = None
    ping_sent_at: float | None = None
    ping_answered_at: float | None = None
    phone_seen_at: float | None = None
    """When the account's own phone last did something that we were told of: linked us, wrote, read, sent us keys."""


class PairingRefs(msgspec.Struct, frozen=True, kw_only=True):
    """The references of a pairing connection: how many, and since when they run."""

    count: int
    at: float

    @property
    def ends_at(self) -> float:
        """When the engine gives up."""
        return self.at + self.lifetime(0) + (self.count - 1) * _REF_S

    def lifetime(self, index: int) -> float:
        """How long the QR code of the reference with this index is shown, in seconds."""
        return _FIRST_REF_S if self.count == _FULL_REFS and index == 0 else _REF_S


def parse_refusal(stanza: str) -> EngineSignal | None:
    """What a `<failure>` or `<stream:error>` stanza means; None for one that asks for a reconnect only."""
    attributes = dict(_ATTRIBUTE.findall(stanza.split(">", 1)[0]))
    raw = stanza[:_RAW_LIMIT]
    if stanza.startswith("<failure"):
        reason = attributes.get("reason", "")
        code = int(reason) if reason.isdigit() else None
        expire = attributes.get("expire", "")
        return EngineSignal(
            kind=_REFUSALS.get(code or 0, SignalKind.CONNECT_FAILURE),
            code=code,
            raw=raw,
            expires_s=float(expire) if expire.isdigit() else None,
        )
    code_text = attributes.get("code", "")
    code = int(code_text) if code_text.isdigit() else None
    if '<conflict type="replaced"' in stanza:
        return EngineSignal(kind=SignalKind.STREAM_REPLACED, code=code or 440, raw=raw)
    if code == 401:
        return EngineSignal(kind=SignalKind.LOGGED_OUT, code=code, raw=raw)
    return EngineSignal(kind=SignalKind.STREAM_ERROR, code=code, raw=raw)


class LogTap:
    """Fed with every log line, in the thread that wrote it and before the engine goes on; so it must be quick."""

    def __init__(
        self,
        *,
        gate: ReceiptGate,
        first_login: FirstLogin,
        write: Callable[[str, str], None],
        on_lost: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`write(level, text)` takes lines for the worker's log; `on_lost(message_id)` hears of a message that the
        engine ignores although it never reached us."""
        self.times = TrafficTimes()
        self.refusal: EngineSignal | None = None
        """The last refusal, until somebody takes it."""
        self.unconfirmed = False
        """WhatsApp did not confirm the last login as active; the engine calls it connected all the same."""
        self.refs: PairingRefs | None = None
        self._gate = gate
        self._first_login = first_login
        self._write = write
        self._on_lost = on_lost
        self._clock = clock
        self._ping_id: str | None = None
        self._own: tuple[str, ...] = ()
        self._unavailable: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def line(self, name: str, level: str, text: str) -> None:
        """One line of the engine's log; `name` is `Client`, `Client/Recv`, `Client/Send`, `Database`, …"""
        if name == "Client/Recv":
            self._received(text)
        elif name == "Client/Send":
            self._sending(text)
        elif name == "Client/Socket" and text.startswith("Dialing"):
            self._first_login.before_dial()
        elif name == "Client":
            self._client(text)
        if level != "DEBUG":
            self._write(level, _LONG_NUMBER.sub("…", text))

    def unavailable_type(self, message_id: str) -> str:
        """The type that the engine gave to a placeholder."""
        with self._lock:
            return self._unavailable.get(message_id, "")

    def take_refusal(self) -> EngineSignal | None:
        """The last refusal; each is given once."""
        refusal, self.refusal = self.refusal, None
        return refusal

    def belongs_to(self, *jids: str) -> None:
        """Whose account it is. The phone is the device without a number: 4915…@lid, where we are 4915…:3@lid."""
        bare = [f"{user.partition(':')[0]}@{server}" for user, _, server in (jid.partition("@") for jid in jids if jid)]
        self._own = tuple(f' {name}="{jid}"' for jid in bare for name in ("from", "participant"))

    def take_unconfirmed(self) -> bool:
        """Whether the next "connected" of the engine is worth nothing; each time is told once."""
        unconfirmed, self.unconfirmed = self.unconfirmed, False
        return unconfirmed

    def _received(self, stanza: str) -> None:
        now = self._clock()
        self.times.frame_at = now
        if stanza.startswith("<iq"):
            found = _ID.search(stanza)
            if found and found[1] == self._ping_id:
                self.times.ping_answered_at = now
            elif "<pair-success" in stanza:
                self.times.phone_seen_at = now
                self._first_login.linked()
            elif "<pair-device" in stanza:
                self.refs = PairingRefs(count=stanza.count("<ref>"), at=now)
        elif stanza.startswith("<message"):
            found = _ID.search(stanza)
            parts = stanza.count("<enc ")
            if found and parts:
                self._gate.arrived(found[1], parts)
            self._look_for_phone(stanza, now)
        elif stanza.startswith("<receipt"):
            self._look_for_phone(stanza, now)
        elif stanza.startswith(("<failure", "<stream:error")):
            self.refusal = parse_refusal(stanza)

    def _look_for_phone(self, stanza: str, now: float) -> None:
        """What it did while we were away comes late, with the time at which it was done."""
        head = stanza.partition(">")[0]
        if any(mark in head for mark in self._own):
            done = dict(_ATTRIBUTE.findall(head)).get("t", "")
            at = min(now, float(done)) if done.isdigit() else now
            self.times.phone_seen_at = max(at, self.times.phone_seen_at or 0.0)

    def _sending(self, stanza: str) -> None:
        if stanza.startswith("<iq") and 'xmlns="w:p"' in stanza:
            found = _ID.search(stanza)
            self._ping_id = found[1] if found else None
            self.times.ping_sent_at = self._clock()
        elif stanza.startswith("<receipt"):
            found = _ID.search(stanza)
            if found and 'type="retry"' not in stanza:
                self._gate.hold_receipt(found[1])

    def _client(self, text: str) -> None:
        if text.startswith("Decrypting message from"):
            self._gate.before_decryption()
        elif text.startswith("Failed to send post-connect passive IQ"):
            self.unconfirmed = True
        elif text.startswith("Unavailable message"):
            found = _UNAVAILABLE.match(text)
            if found:
                with self._lock:
                    self._unavailable[found[1]] = found[2]
                    while len(self._unavailable) > _REMEMBERED_UNAVAILABLE:
                        self._unavailable.popitem(last=False)
        elif text.startswith("Ignoring message"):
            found = _IGNORED.match(text)
            if found:
                if not self._gate.knows(found[1]):
                    self._on_lost(found[1])
                self._gate.no_event(found[1])
        elif text.startswith("Error decrypting message"):
            found = _UNREADABLE.match(text)
            if found:
                self._gate.no_event(found[1], whole=True)
