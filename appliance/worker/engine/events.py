"""What the engine tells us, in types of our own: nothing outside `engine/` sees a protobuf message."""

from __future__ import annotations

import enum

import msgspec

from appliance.model import MediaKind
from appliance.protocol import SignalKind

STATUS_CHAT = "status@broadcast"
"""The chat in which every contact's status updates arrive."""


class RawKind(enum.IntEnum):
    """The engine's number of the events that are recorded as they come; stored in the inbox."""

    MESSAGE = 17
    UNDECRYPTABLE = 44


class MediaRef(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to fetch and decrypt one attachment. The key makes it a secret: it never leaves the store."""

    kind: MediaKind
    mimetype: str
    size: int
    sha256: bytes
    enc_sha256: bytes
    media_key: bytes = msgspec.field(default=b"")
    direct_path: str = ""
    caption: str = ""
    file_name: str = ""

    @property
    def fetchable(self) -> bool:
        """False for the shell that remains of a view-once message on linked devices."""
        return bool(self.media_key and self.direct_path)


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """The message that a reply quotes."""

    message_id: str
    participant: str
    view_once: bool
    media: MediaRef | None = None


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """One decrypted message, reduced to what the capture rules and deletion recovery need.

    `chat_alt` and `sender_alt` are the same chat and sender under their other address (phone number or LID).
    """

    id: str
    chat: str
    sender: str
    from_me: bool
    sent_at: float
    chat_alt: str = ""
    sender_alt: str = ""
    text: str = ""
    media: MediaRef | None = None
    view_once: bool = False
    quoted: Quoted | None = None
    revokes: str | None = None
    """Id of the message that this one deletes for everyone."""
    edits: str | None = None
    """Id of the message whose new content this is."""
    empty: bool = False
    """Carries keys or protocol matters only."""

    @property
    def is_status(self) -> bool:
        return self.chat == STATUS_CHAT


class Undecryptable(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose content this device did not get. `unavailable` is WhatsApp's word for it, `view_once` for
    example."""

    id: str
    chat: str
    sender: str
    from_me: bool
    unavailable: str = ""


class EngineSignal(msgspec.Struct, frozen=True, kw_only=True):
    """An event about the connection."""

    kind: SignalKind
    code: int | None = None
    raw: str = ""
    expires_s: float | None = None
    connected_at: float | None = None
    """When the connection that this event ends had logged in."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Who the store belongs to: the engine says it at every login, and after pairing for the first time."""

    jid: str
    lid: str
    platform: str = ""


class LoginWord(enum.StrEnum):
    """How the engine's pairing channel ended, or what it asks for (whatsmeow, qrchan.go)."""

    SUCCESS = "success"
    TIMEOUT = "timeout"
    ERROR = "error"
    UNEXPECTED_STATE = "err-unexpected-state"
    CLIENT_OUTDATED = "err-client-outdated"
    NOT_MULTIDEVICE = "err-scanned-without-multidevice"
    PASSKEY_REQUEST = "passkey-request"
    PASSKEY_CONFIRMATION = "passkey-confirmation"


class LoginStatus(msgspec.Struct, frozen=True, kw_only=True):
    word: str
    """A LoginWord, unless the engine has learnt a new one."""


class QrCode(msgspec.Struct, frozen=True, kw_only=True):
    """A QR text that the engine shows now, until `expires_at`; the whole attempt ends at `ends_at`."""

    value: str
    expires_at: float
    ends_at: float


class EngineLost(msgspec.Struct, frozen=True, kw_only=True):
    """A message was receipted without reaching us: its keys had been used up by a process that died before recording
    it."""

    message_id: str


EngineEvent = EngineSignal | Account | LoginStatus | QrCode | EngineLost
