"""What is kept of an account's messages: settings that hold for all sessions, and what one session has of its own.

Part of the API and of what the daemon tells its workers; imports nothing else of ours but the model.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from appliance.model import MediaKind

_MIB: Final = 1 << 20
CONTACT_PATTERN: Final = r"^\+?\d{5,20}(@lid|@g\.us|@s\.whatsapp\.net)?$"
Contact = Annotated[
    str, Meta(pattern=CONTACT_PATTERN, description="A phone number with country code, or the id of a contact or group.")
]
Triggers = Annotated[str, Meta(max_length=200)]
Hours = Annotated[float, Meta(gt=0)]
Bytes = Annotated[int, Meta(ge=0)]


class FetchDeleted(enum.StrEnum):
    """When the media of ordinary messages, which may be deleted later, is fetched."""

    ON_DELETION = "on_deletion"
    """WhatsApp keeps deleted media for a while: nearly always it is still there."""
    ON_ARRIVAL = "on_arrival"
    """Surer, and costs every picture's traffic and space (within `keep_bytes`)."""


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker keeps, and for how long it remembers messages that may be deleted later."""

    statuses: bool = True
    deleted: bool = True
    view_once: bool = True
    groups: bool = True
    """Whether deleted messages and view-once media of groups are kept as well."""
    kinds: tuple[MediaKind, ...] = tuple(MediaKind)
    """Only these are kept."""
    allow: tuple[Contact, ...] = ()
    """If not empty: only what these contacts and groups send."""
    block: tuple[Contact, ...] = ()
    """Nothing that these send."""
    trigger: Triggers = ".vv"
    """Words or emoji, separated by blanks: the reply to a view-once message by which its owner asks for it."""
    fetch_deleted: FetchDeleted = FetchDeleted.ON_DELETION
    copy_to_self: bool = False
    """Send what is captured to the account's own chat as well."""
    keep_hours: Hours = 72
    keep_bytes: Bytes = 100 * _MIB
    max_media_bytes: Bytes = 64 * _MIB
    """Larger attachments are noted, not fetched."""
    parallel_downloads: Annotated[int, Meta(ge=1, le=16)] = 2
    min_free_bytes: Bytes = 512 * _MIB
    """With less free disk nothing more is fetched: databases need the rest. A fortieth of the smallest disk."""


class CaptureChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What one session has of its own. A field that is left out stays as it is; null: as for all sessions."""

    statuses: bool | UnsetType | None = UNSET
    deleted: bool | UnsetType | None = UNSET
    view_once: bool | UnsetType | None = UNSET
    groups: bool | UnsetType | None = UNSET
    kinds: tuple[MediaKind, ...] | UnsetType | None = UNSET
    allow: tuple[Contact, ...] | UnsetType | None = UNSET
    block: tuple[Contact, ...] | UnsetType | None = UNSET
    trigger: Triggers | UnsetType | None = UNSET
    fetch_deleted: FetchDeleted | UnsetType | None = UNSET
    copy_to_self: bool | UnsetType | None = UNSET
    keep_hours: Hours | UnsetType | None = UNSET
    keep_bytes: Bytes | UnsetType | None = UNSET
    max_media_bytes: Bytes | UnsetType | None = UNSET

    def own(self) -> dict[str, Any]:
        """Names and values of what is set."""
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in found.items() if value is not UNSET and value is not None}

    def then(self, change: CaptureChange) -> CaptureChange:
        """Both, the later one wins; nothing in the result is null."""
        given = {name: getattr(change, name) for name in change.__struct_fields__}
        merged = self.own() | {name: value for name, value in given.items() if value is not UNSET}
        return CaptureChange(**{name: value for name, value in merged.items() if value is not None})

    def applied(self, base: CaptureSettings) -> CaptureSettings:
        """The settings that hold for a session with this of its own."""
        return msgspec.structs.replace(base, **self.own())


class CaptureView(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a session; `own` names what it has of its own."""

    settings: CaptureSettings
    own: list[str]
