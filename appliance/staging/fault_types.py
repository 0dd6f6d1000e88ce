"""Faults as the control socket speaks of them: what can go wrong, for whom, how long."""

from __future__ import annotations

import enum

import msgspec


class FaultKind(enum.StrEnum):
    """What can be made to go wrong. The first groups act on sockets, the others on what is said over them."""

    # at once, on the connections that are open now
    RESET = "reset"
    """RST."""
    CLOSE = "close"
    """FIN."""
    STREAM_ERROR = "stream_error"
    """`code` (503, 500, 515 …), or `text` = `replaced` | `device_removed`."""
    # on sockets, as long as it lasts
    STALL = "stall"
    """The connections that are open now fall silent; new ones work: half-open sockets."""
    SILENCE = "silence"
    """As STALL, and new ones are silent as well."""
    REFUSE = "refuse"
    """New connections are reset."""
    DOWN = "down"
    """Everything is reset, and refused from then on: the server is gone."""
    DROP = "drop"
    """`percent` of the sockets, present and future ones, are reset at a random moment within 5 s."""
    NO_UPGRADE = "no_upgrade"
    """TCP and TLS work; the WebSocket upgrade is never answered."""
    # at login
    NO_HELLO = "no_hello"
    """The Noise handshake is never answered."""
    FAILURE = "failure"
    """Logins are answered with `<failure reason=code>`; 402 takes `expire_s`."""
    # while connected
    NO_PONG = "no_pong"
    """Keep-alive pings are not answered; everything else works."""
    SILENT_IQ = "silent_iq"
    """Requests in the namespace `text` are not answered."""
    NO_ACK = "no_ack"
    """Messages from the device are not acknowledged."""
    ACK_ERROR = "ack_error"
    """They are acknowledged with error `code`."""
    NO_LID = "no_lid"
    """Look-ups of a number tell no LID."""
    NO_PREKEYS = "no_prekeys"
    """Key bundles come without a one-time pre-key."""
    ASK_RETRY = "ask_retry"
    """The recipient cannot read what the device sent, and asks for it again."""
    HOLD = "hold"
    """Messages for the device are queued and not delivered."""
    # media host
    MEDIA_STATUS = "media_status"
    """Downloads and uploads are answered with HTTP status `code`."""
    MEDIA_HANG = "media_hang"
    """They are never answered."""
    # linking
    PAIR_REFUSED = "pair_refused"
    """The request for a code is refused with `code`: 429 or 400."""
    PAIR_NO_ANSWER = "pair_no_answer"
    """The request for a code is not answered."""
    PAIR_SILENT = "pair_silent"
    """The code is typed and nothing follows: what a passkey prompt looks like from the device."""
    PAIR_REFS = "pair_refs"
    """Registrations get only `code` references: with one, the code dies after 20 s."""
    PAIR_BAD_HMAC = "pair_bad_hmac"
    """The identity that the phone hands over does not verify."""


class SetFault(msgspec.Struct, frozen=True, kw_only=True):
    """Without an account: the whole network. `duration_s` and `count` end it by themselves; 0: until cleared."""

    kind: FaultKind
    account: str = ""
    device: int | None = None
    connection: int | None = None
    code: int = 0
    text: str = ""
    percent: float = 100.0
    expire_s: int = 3600
    duration_s: float = 0.0
    count: int = 0
    """How often it strikes before it is gone."""


class FaultView(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    fault: SetFault
    set_at: float
    struck: int
    """How often it acted."""


class FaultList(msgspec.Struct, frozen=True, kw_only=True):
    faults: list[FaultView]


class ClearFaults(msgspec.Struct, frozen=True, kw_only=True):
    id: int | None = None
    """None: all of them."""
