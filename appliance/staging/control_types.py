"""What a test, a bench or an operator says to a running staging network, and what it answers.

Every request is one struct, sent as JSON over the control socket; times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import Category, MediaKind

INFO_FILE: Final = "staging.json"
"""In the network's folder; written when the network is ready, removed when it stops."""


class NetworkInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running network is reached: the content of `staging.json`."""

    proxy_url: str
    """Give this to the engine as its only proxy."""
    control_socket: str
    ca_file: str
    """Set as SSL_CERT_FILE in the environment that the engine's process is executed with."""
    library: str
    """The engine library that trusts this network instead of WhatsApp."""
    pid: int


class TypingPlan(enum.StrEnum):
    """What an account's phone does with the code that its user is shown."""

    TYPE = "type"
    """Types it right, after the delay."""
    WRONG_THEN_RIGHT = "wrong_then_right"
    TWICE = "twice"
    """Types it right, and then again."""
    WRONG = "wrong"
    NEVER = "never"


class AddAccount(msgspec.Struct, frozen=True, kw_only=True):
    phone: str
    name: str = ""
    """The push name; empty: a name made from the number."""
    plan: TypingPlan = TypingPlan.TYPE
    delay_min_s: float = 0.0
    delay_max_s: float = 0.0
    """The phone types after a time drawn evenly between the two."""
    history_texts: int = 0
    """How many old messages the phone pushes to a device that it has just linked."""
    seed: int | None = None
    """Makes the drawn delay repeatable."""


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    linked_at: float
    online: bool
    """Logged in at this moment."""
    pending: int
    """Stanzas that wait for a receipt of this device."""
    connection: int | None = None


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    phone: str
    lid: str
    name: str
    plan: TypingPlan
    devices: list[DeviceView]


class Accounts(msgspec.Struct, frozen=True, kw_only=True):
    accounts: list[AccountView]


class TypeCode(msgspec.Struct, frozen=True, kw_only=True):
    """The user types a code on the phone; what then happens follows the account's typing plan."""

    phone: str
    code: str
    now: bool = False
    """Ignore the plan: type exactly this, at once."""


class TypeCodeResult(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome`: `accepted`, `wrong_code`, `no_request` (nobody asked for a code, or it is dead), `planned`
    (the phone will type later), `never`, `silent` (a fault keeps the phone silent)."""

    outcome: str
    delay_s: float = 0.0


class ScanQr(msgspec.Struct, frozen=True, kw_only=True):
    phone: str
    text: str
    """What the QR code says."""


class SendKind(enum.StrEnum):
    """What a contact sends; media kinds are those of the appliance."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    VIDEO_NOTE = "video_note"
    AUDIO = "audio"
    VOICE = "voice"
    DOCUMENT = "document"
    STICKER = "sticker"

    @property
    def media_kind(self) -> MediaKind:
        return MediaKind(self.value)


class Where(enum.StrEnum):
    CHAT = "chat"
    STATUS = "status"
    GROUP = "group"


class ViewOnce(enum.StrEnum):
    NO = "no"
    PAYLOAD = "payload"
    """The message holds the media, as on phones."""
    FLAG = "flag"
    """Only the media's own view-once field is set, without a wrapper."""
    PLACEHOLDER = "placeholder"
    """What WhatsApp gives linked devices: `<unavailable type=view_once/>`, the media stays on the phone."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """A contact sends something to an account; every linked device of it gets a copy."""

    account: str
    contact: str
    """The contact's phone number; the account's own number: its own phone writes (to `to`)."""
    kind: SendKind = SendKind.TEXT
    where: Where = Where.CHAT
    group: str = ""
    """For GROUP: the group's digits; empty: one group per contact."""
    to: str = ""
    """Only when the own phone writes: whom it writes to; empty: to itself."""
    text: str = ""
    """The text or the caption; empty for a text: one is made up."""
    size: int = 0
    """Of the media in bytes; 0: small, by kind."""
    mimetype: str = ""
    view_once: ViewOnce = ViewOnce.NO
    edit_of: str = ""
    """The message whose text this one replaces."""
    quoted: str = ""
    """The message that this text answers."""
    by_phone_number: bool = False
    """Address the stanza by phone number, as older clients do, instead of by LID."""
    damaged: bool = False
    """Encrypt it so that the device cannot read it at first and asks for a retry."""
    count: int = 1


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    ids: list[str]


class Revoke(msgspec.Struct, frozen=True, kw_only=True):
    """The sender deletes a message for everyone."""

    account: str
    message_id: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The account's own phone answers a message, quoting it whole: the `.vv` of the appliance."""

    account: str
    message_id: str
    text: str = ".vv"
    wrapped: bool = False
    """Quote a view-once message inside its wrapper."""


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of what a traffic generator sends."""

    text: float = 10.0
    image: float = 1.0
    status: float = 0.0
    view_once: float = 0.0
    voice: float = 0.0
    video: float = 0.0
    group: float = 0.0
    revoked: float = 0.0
    """A text or picture that is deleted right after it was delivered."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Contacts that write by themselves until `messages` were sent or `duration_s` is over."""

    accounts: list[str] = []
    """Empty: every linked account."""
    per_second: float = 5.0
    """Over all accounts together."""
    messages: int = 0
    """0: no limit by number."""
    duration_s: float = 0.0
    """0: no limit by time."""
    mix: Mix = Mix()
    image_bytes: int = 60_000
    contacts_per_account: int = 3
    seed: int = 1


class TrafficState(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    running: bool
    sent: int
    media_sent: int


class TrafficId(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    wait_s: float = 0.0
    """Answer when the generator has ended, or after this time."""


class Unlink(msgspec.Struct, frozen=True, kw_only=True):
    """The user removes a linked device on the phone."""

    account: str
    device: int | None = None
    """None: all of them."""


class AccountOnly(msgspec.Struct, frozen=True, kw_only=True):
    account: str


class PushName(msgspec.Struct, frozen=True, kw_only=True):
    """The user changes their name on the phone."""

    account: str
    name: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A contact has read (or played) what the account sent."""

    account: str
    contact: str
    message_id: str
    type: str = "read"


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


class JournalKind(enum.StrEnum):
    NETWORK_STARTED = "network_started"
    NETWORK_STOPPED = "network_stopped"
    # connections
    OPENED = "opened"
    LOGIN = "login"
    """An attempt to log in; `answer`: `success`, or `failure <reason>`."""
    READY = "ready"
    """The device has announced itself active: its queue was flushed."""
    CLOSED = "closed"
    """A device that had logged in is gone: `by` (`client`, a fault, `replaced`, `stopping`, `network killed`), `ready`
    (it had announced itself active: it was connected in its own eyes), `stalled`, `seconds`."""
    SECOND_COPY = "second_copy"
    """A device logged in while another connection of it was alive and answering."""
    # linking
    PAIR_OPENED = "pair_opened"
    PAIR_REQUESTED = "pair_requested"
    PAIR_REFUSED = "pair_refused"
    PAIR_TYPED = "pair_typed"
    PAIR_WRONG = "pair_wrong"
    PAIR_SCANNED = "pair_scanned"
    PAIR_DONE = "pair_done"
    """The device has signed: it is linked."""
    PAIR_CLOSED = "pair_closed"
    UNLINKED = "unlinked"
    """`by`: `phone`, `device` (logout)."""
    # messages to devices
    SENT = "sent"
    """A message exists from now on; `kind`, `where`, `category`, `sha256`, `size`."""
    DELIVERED = "delivered"
    """Written to a device's connection; `offline` when it had waited."""
    RECEIPTED = "receipted"
    """`type`; the network now owes the device nothing for this message."""
    RETRY_ASKED = "retry_asked"
    ACKED = "acked"
    """Acknowledged without content: a placeholder, or a message the device could not read."""
    # from devices
    ARRIVED = "arrived"
    """`to`, `text_sha256`, `kind`, `sha256`, `copies`."""
    BAD_MESSAGE = "bad_message"
    """What a device sent does not verify; `why`."""
    PRESENCE = "presence"
    READ = "read"
    """The device marked something as read."""
    UNKNOWN_REQUEST = "unknown_request"
    # media host
    MEDIA_GET = "media_get"
    MEDIA_PUT = "media_put"
    # faults
    FAULT_SET = "fault_set"
    FAULT_STRUCK = "fault_struck"
    FAULT_CLEARED = "fault_cleared"


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    at: float
    kind: JournalKind
    account: str = ""
    device: int | None = None
    message_id: str = ""
    data: dict[str, str | int | float | bool] = {}


class JournalQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Entries after a number that match everything that is given; waits up to `wait_s` for the first one."""

    after: int = 0
    kinds: list[JournalKind] = []
    account: str = ""
    device: int | None = None
    message_id: str = ""
    data: dict[str, str | int | float | bool] = {}
    limit: int = 1000
    wait_s: float = 0.0


class JournalPage(msgspec.Struct, frozen=True, kw_only=True):
    entries: list[JournalEntry]
    last: int
    """The newest number of the whole journal."""


class CaptureDue(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a perfect appliance has stored by now."""

    account: str
    category: Category
    kind: MediaKind
    message_id: str
    """Of the message that holds the content."""
    due_by: str
    """Of the message that made it due: itself, the `.vv` reply or the revoke."""
    sha256: str
    """Of the plain media, or of the text in UTF-8."""
    size: int
    receipted_at: float | None
    """When the device had receipted everything that makes it due; None: it has not."""


class CapturesDue(msgspec.Struct, frozen=True, kw_only=True):
    captures: list[CaptureDue]


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    uptime_s: float
    connections: int
    online: int
    accounts: int
    devices: int
    pending: int
    journal: int
    unknown_requests: int
    second_copies: int
    bad_messages: int
    media_served: int
    faults: int
    rss_bytes: int
    cpu_s: float


class Nothing(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error answer."""

    error: str
