"""Journal entries as the control socket gives them out, and what follows from them."""

from __future__ import annotations

import enum

import msgspec

from appliance.model import Category, MediaKind


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
    TOLD = "told"
    """A device has taken news that are no message; `about`: `account_sync`, `server_sync`, `key_share`, `history`."""
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
