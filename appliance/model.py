"""What crosses a boundary: states, reasons and bodies that more than one process speaks of.

Imports nothing of ours, so that the TUI, the CLI, the API client, the daemon and the workers can all use it.
Times are seconds since the epoch, UTC; sizes are bytes. Every enum value is the word on the wire.
"""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

SESSION_ID_PATTERN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""A session id is a folder name, a URL segment and a key prefix in object stores: lower case, no dots, 32 at most."""


class SessionState(enum.StrEnum):
    """What the appliance knows of a session; set by evidence only, never by a timer."""

    NEW = "new"
    QUEUED = "queued"
    PAIRING = "pairing"
    CONNECTING = "connecting"
    ONLINE = "online"
    DEGRADED = "degraded"
    RECONNECTING = "reconnecting"
    COOLING = "cooling"
    NEEDS_PAIRING = "needs_pairing"
    REPLACED = "replaced"
    BANNED = "banned"
    OUTDATED = "outdated"
    STOPPED = "stopped"
    FAILED = "failed"


class Advice(msgspec.Struct, frozen=True):
    """One state in plain language: what it means, and what somebody should do about it (empty: nothing)."""

    meaning: str
    remedy: str


ADVICE: Final[dict[SessionState, Advice]] = {
    SessionState.NEW: Advice("Never linked to a WhatsApp account.", "Link it: amda pair ID --phone +…"),
    SessionState.QUEUED: Advice("Waiting for its turn to be linked.", ""),
    SessionState.PAIRING: Advice(
        "Being linked: waiting for the code to be typed or the QR code to be scanned.",
        "On the phone: WhatsApp → Linked devices → Link a device.",
    ),
    SessionState.CONNECTING: Advice("Logging in to WhatsApp.", ""),
    SessionState.ONLINE: Advice("Connected, and WhatsApp answers.", ""),
    SessionState.DEGRADED: Advice("WhatsApp does not answer; being probed, then restarted.", ""),
    SessionState.RECONNECTING: Advice("The connection was lost; it is being made again.", ""),
    SessionState.COOLING: Advice(
        "Too many failed attempts in an hour: pausing so that WhatsApp is not annoyed.",
        "Nothing; it goes on by itself. To try at once: amda session start ID",
    ),
    SessionState.NEEDS_PAIRING: Advice(
        "WhatsApp removed this linked device; media and history are kept.", "Link it again: amda pair ID --phone +…"
    ),
    SessionState.REPLACED: Advice(
        "Another program logged in with this session's credentials; retrying would make the two fight.",
        "Find and stop the other copy, then: amda session start ID",
    ),
    SessionState.BANNED: Advice(
        "WhatsApp refuses this account for a while or for good.",
        "Open WhatsApp on the phone: it says why, and whether an appeal is possible.",
    ),
    SessionState.OUTDATED: Advice(
        "WhatsApp no longer accepts this version of the engine.", "Upgrade the engine: amda engine upgrade"
    ),
    SessionState.STOPPED: Advice("Stopped by the operator.", "Start it: amda session start ID"),
    SessionState.FAILED: Advice(
        "Its process crashed again and again.", "Read why: amda logs ID; then: amda session start ID"
    ),
}


class Category(enum.StrEnum):
    """What a stored item is; also its key prefix in an object store."""

    STATUS = "statuses"
    DELETED = "deleted-messages"
    VIEW_ONCE = "view-once"


class MediaKind(enum.StrEnum):
    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    VIDEO_NOTE = "video_note"
    AUDIO = "audio"
    VOICE = "voice"
    DOCUMENT = "document"
    STICKER = "sticker"


class PairMethod(enum.StrEnum):
    CODE = "code"
    QR = "qr"


class PairingState(enum.StrEnum):
    """Where one attempt to link a session stands; the last five are final."""

    QUEUED = "queued"
    STARTING = "starting"
    WAITING = "waiting"
    """A code or QR code is shown and alive."""
    CONFIRMING = "confirming"
    """Accepted by the phone; logging in for the first time."""
    LINKED = "linked"
    EXPIRED = "expired"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        return self in _FINAL_PAIRING_STATES


_FINAL_PAIRING_STATES: Final = frozenset(
    {
        PairingState.LINKED,
        PairingState.EXPIRED,
        PairingState.REFUSED,
        PairingState.CANCELLED,
        PairingState.FAILED,
    }
)


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as the API shows it. The phone number is masked."""

    id: str
    name: str
    state: SessionState
    meaning: str
    remedy: str
    since: float
    """When the present state began."""
    created_at: float
    wanted: bool
    """Whether the operator wants it running."""
    generation: int
    node_id: str
    phone: str | None = None
    detail: str = ""
    """What is particular to this case, for example the code that WhatsApp gave."""
    next_try_at: float | None = None
    """When its pause ends, a ban's too; in the past: it waits for its turn. None: it does not pause."""
    pid: int | None = None
    engine: str | None = None
    build: str | None = None
    """Which code its process runs: the release's folder, and the engine's if that has one of its own."""
    last_traffic_at: float | None = None
    phone_seen_at: float | None = None
    """When the account's own phone last did something that we were told of; it may have been online without."""
    memory_bytes: int | None = None
    """Of its process (PSS), as it last reported."""
    disconnections_today: int = 0
    proxy: str | None = None
    """Its own way to WhatsApp, without the login; `none`: directly, whatever is set for all. None: as for all."""
    media_bytes: int = 0
    media_count: int = 0


class PairingView(msgspec.Struct, frozen=True, kw_only=True):
    """One linking attempt as the API shows it; `code` or `qr` is present only while it can still be used."""

    id: str
    session: str
    method: PairMethod
    state: PairingState
    created_at: float
    updated_at: float
    phone: str | None = None
    code: str | None = None
    qr: str | None = None
    expires_at: float | None = None
    remaining_s: float | None = None
    """Seconds that `code` or `qr` can still be used."""
    reason: str | None = None
    remedy: str | None = None
    position: int | None = None
    """Place in the queue, from 1."""
    wait_s: float | None = None
    """When its turn comes, by what the latest attempts have taken: an estimate."""
    started_at: float | None = None
    """When it took a slot, …"""
    shown_at: float | None = None
    """… its first code was shown, …"""
    accepted_at: float | None = None
    """… the phone accepted, …"""
    ended_at: float | None = None
    """… and it ended."""
    tries: int = 1
    """How often a code had to be asked for."""


class MediaView(msgspec.Struct, frozen=True, kw_only=True):
    """One stored item as the API shows it."""

    id: str
    session: str
    category: Category
    kind: MediaKind
    mimetype: str
    """Of the stored bytes, by their content where that says it."""
    size: int
    """Bytes as stored."""
    sha256: str
    """Of the bytes as they were downloaded."""
    key: str
    message_id: str
    chat: str
    """Masked where it is a phone number."""
    sender: str
    sent_at: float
    stored_at: float
    caption: str = ""
    pinned: bool = False
    """No pruning takes it."""
    original_size: int = 0
    """Bytes as downloaded."""
    stored_sha256: str = ""
    """Of the stored bytes; another one than `sha256` if it was made smaller."""
    treatment: str = "original"
    """`compressed`, or why it was stored as it came: `original`, `little_gain`, `unreadable`, `too_demanding`,
    `no_program`, `hurried`."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the API's event stream."""

    seq: int
    at: float
    type: str
    session: str | None = None
    data: dict[str, object] = msgspec.field(default_factory=dict)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457): every error of the API has this body."""

    type: str
    title: str
    status: int
    detail: str = ""
    remedy: str = ""
    field: str = ""


def mask_phone(phone: str) -> str:
    """Show enough of a phone number to recognise it: the first five digits and the last two.

    >>> mask_phone("+221771234512")
    '+22177······12'
    """
    digits = phone.lstrip("+")
    if len(digits) < 8:  # shorter than any subscriber number with country code (ITU-T E.164)
        return "·" * len(digits)
    return f"+{digits[:5]}{'·' * (len(digits) - 7)}{digits[-2:]}"
