"""What a test, a bench or an operator says to a running staging network, and what it answers.

Every request is one struct, sent as JSON over the control socket; times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import MediaKind
from appliance.staging.fault_types import ClearFaults as ClearFaults
from appliance.staging.fault_types import FaultKind as FaultKind
from appliance.staging.fault_types import FaultList as FaultList
from appliance.staging.fault_types import FaultView as FaultView
from appliance.staging.fault_types import SetFault as SetFault
from appliance.staging.journal_types import CaptureDue as CaptureDue
from appliance.staging.journal_types import CapturesDue as CapturesDue
from appliance.staging.journal_types import JournalEntry as JournalEntry
from appliance.staging.journal_types import JournalKind as JournalKind
from appliance.staging.journal_types import JournalPage as JournalPage
from appliance.staging.journal_types import JournalQuery as JournalQuery

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
    seed: int = 0
    """The same number gives the same media, for whomever it is sent to; 0: media that nobody has seen before."""
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
    pictures: float = 0.5
    """Share of pictures among statuses and what is deleted; the others are texts."""


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


class AddEngine(msgspec.Struct, frozen=True, kw_only=True):
    """Make a copy of another engine's library that trusts this network."""

    folder: str
    """Where that engine's package lies."""


class EngineCopy(msgspec.Struct, frozen=True, kw_only=True):
    library: str


class Nothing(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every error answer."""

    error: str
