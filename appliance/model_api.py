"""Bodies of API requests and answers that only the API and its clients speak of; `model` holds the rest.

Requests refuse fields that they do not know: a misspelt one would otherwise be a silent default.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.model import Category, MediaKind, MediaView, PairingView, PairMethod, SessionState, SessionView

_ID = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
"""As `model.SESSION_ID_PATTERN`, in the words of a JSON schema."""
SessionId = Annotated[str, Meta(pattern=_ID, description="Lower case letters, digits and inner dashes; 32 at most.")]
Limit = Annotated[int, Meta(ge=1, le=500)]


ResourceId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="As the listing gives it.")]


class Scope(enum.StrEnum):
    """What a caller may do; each includes the ones before it."""

    READ = "read"
    """Look at everything but settings, tokens and the audit."""
    OPERATE = "operate"
    """Sessions, linking, media, alerts: the daily work."""
    ADMIN = "admin"
    """Settings, tokens, the audit."""

    def includes(self, other: Scope) -> bool:
        return _SCOPES.index(self) >= _SCOPES.index(other)


_SCOPES: Final = tuple(Scope)


class CreateSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: SessionId
    name: Annotated[str, Meta(max_length=80)] = ""
    """For people; empty: the id."""


class SetSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given is changed, the rest stays."""

    name: Annotated[str, Meta(min_length=1, max_length=80)] | msgspec.UnsetType = msgspec.UNSET
    """For people; the id never changes."""
    proxy: Annotated[str, Meta(max_length=600)] | msgspec.UnsetType | None = msgspec.UNSET
    """http:// or socks5:// URL of a way to WhatsApp of its own; empty: no proxy at all; null: as for all sessions."""


class RemoveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    purge: bool = False
    """Delete the stored media as well."""


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """A session is gone. `note`: why its device could not be unlinked at WhatsApp, and what to do; None: it was."""

    session: str
    purged: bool
    note: str | None


class SessionOrder(enum.StrEnum):
    """By what a listing of sessions is sorted; what is equal is sorted by id."""

    ID = "id"
    NAME = "name"
    STATE = "state"
    SINCE = "since"
    """When the present state began."""
    CREATED = "created_at"
    TRAFFIC = "last_traffic_at"
    MEMORY = "memory_bytes"
    MEDIA = "media_bytes"
    DISCONNECTIONS = "disconnections_today"


class SessionsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every condition must hold."""

    state: tuple[SessionState, ...] = ()
    """One of these; none: all."""
    text: Annotated[str, Meta(min_length=1, max_length=80)] | None = None
    """Part of id or name, whatever its case."""
    sort: SessionOrder = SessionOrder.ID
    descending: bool = False
    offset: Annotated[int, Meta(ge=0, le=100_000)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    sessions: list[SessionView]
    total: int = 0
    """That match, on all pages."""


class PairRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    session: SessionId
    method: PairMethod = PairMethod.CODE
    phone: Annotated[str, Meta(max_length=40)] | None = None
    """With country code; only for a code."""
    relink: bool = False
    """Link it although it is linked; the old login is kept until the new one has succeeded."""


class RelinkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    method: PairMethod = PairMethod.CODE
    phone: Annotated[str, Meta(max_length=40)] | None = None
    """With country code; only for a code."""


class PairingQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    session: SessionId | None = None
    limit: Limit = 50


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answer as soon as the attempt is newer than `since` (its `updated_at`), at the latest after `wait_s`."""

    since: float = 0.0
    wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.0


class PairingList(msgspec.Struct, frozen=True, kw_only=True):
    pairings: list[PairingView]


class LiftRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Forget what counts against a session, and against the numbers that it asked codes for lately."""

    session: SessionId
    phone: Annotated[str, Meta(max_length=40)] | None = None
    """A further number."""


class LiftResult(msgspec.Struct, frozen=True, kw_only=True):
    lifted: int
    """How many limits there were."""


class PairingDay(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the linking attempts that ended on one day (local time). Times are medians, in seconds."""

    day: str
    attempts: int
    linked: int
    cancelled: int
    success_rate: float | None
    """Of those that were not cancelled, from 0 to 1; None if there were none."""
    code_shown_s: float | None
    """From the request to the first code."""
    linked_s: float | None
    """From the request to the end of a successful attempt."""


class PairingDays(msgspec.Struct, frozen=True, kw_only=True):
    days: list[PairingDay]
    """Newest first; days without attempts are left out."""


class DaysQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    days: Annotated[int, Meta(ge=1, le=400)] = 14


class MediaQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    session: SessionId | None = None
    category: Category | None = None
    kind: MediaKind | None = None
    text: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    """Found in caption, file name, sender, chat or message id."""
    since: float | None = None
    """Sent at that time or later."""
    until: float | None = None
    """Sent before that time."""
    pinned: bool | None = None
    limit: Limit = 100
    cursor: Annotated[str, Meta(max_length=80)] | None = None
    """`next` of the page before."""


class MediaPage(msgspec.Struct, frozen=True, kw_only=True):
    items: list[MediaView]
    """Newest first."""
    next: str | None
    """Give this as `cursor` for the next page; None: this is the last one."""


class MediaDeletion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ids: Annotated[list[ResourceId], Meta(min_length=1, max_length=500)]


class MediaDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """`missing` names those that are not there, or not for this caller."""

    deleted: int
    missing: list[str]


class PoisonView(msgspec.Struct, frozen=True, kw_only=True):
    """A captured item that could not be stored because it is wrong itself; it was set aside."""

    session: str
    item: str
    reason: str
    folder: str
    at: float


class PoisonList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[PoisonView]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    session: SessionId | None = None
    type: tuple[Annotated[str, Meta(max_length=40)], ...] = ()
    """The beginning of the event's type: `media` matches `media.stored`. One of these; none: all."""
    after: Annotated[int, Meta(ge=0)] | None = None
    """Begin after this number; the header `Last-Event-ID` says the same and wins."""


class DegradedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not work just now, what that means, and what to do."""

    part: str
    reason: str
    remedy: str


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """`ready`: sessions can run. Parts that are away although sessions run are named in `degraded`."""

    ready: bool
    degraded: list[DegradedPart]


class IntakeState(msgspec.Struct, frozen=True, kw_only=True):
    """How media gets from the sessions into the store."""

    waiting: int = 0
    """Items seen in the spools and not yet stored."""
    trouble: str = ""
    """Why nothing can be stored just now; empty: it can."""
    stored: int = 0
    """Since the daemon started."""
    poisoned: int = 0
    """Since the daemon started."""
    refused: int = 0
    """Since the daemon started: there was no room for so long that the spools were full."""
    saved_bytes: int = 0
    """Since the daemon started: by making things smaller, and by storing the same thing once."""


class StatusView(msgspec.Struct, frozen=True, kw_only=True):
    """The appliance at a glance."""

    release: str
    node_id: str
    pid: int
    started_at: float
    network: str
    """`whatsapp`, or `staging` for a network of our own."""
    sessions: dict[SessionState, int]
    media_count: int
    media_bytes: int
    intake: IntakeState
    last_event: int
    degraded: list[DegradedPart]
    settings_waiting: list[str] = []
    """Settings whose new value waits for a restart of something, one sentence each."""


class SettingSource(enum.StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"


class SettingChange(enum.StrEnum):
    """When a change of a setting takes effect in an appliance that runs."""

    LIVE = "live"
    SESSION = "session"
    """When a session starts the next time."""
    DAEMON = "daemon"
    """With a restart of the daemon, …"""
    APPLIANCE = "appliance"
    """… or of everything."""


class SettingView(msgspec.Struct, frozen=True, kw_only=True):
    """One setting with its effective value, the variable that overrides it, and what it is for."""

    section: str
    key: str
    value: object
    variable: str
    description: str
    source: SettingSource | None = None
    """None: not known."""
    change: SettingChange = SettingChange.DAEMON
    waits: bool = False
    """The settings file has another value, which waits for what `change` says."""


SettingValue = str | int | float | bool | list[str] | None
"""As the settings file has it; None: take it out of the file."""


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    changes: Annotated[
        dict[Annotated[str, Meta(pattern=r"^[a-z]+\.[a-z0-9_]+$")], SettingValue], Meta(min_length=1, max_length=50)
    ]
    """SECTION.KEY → value; null: its default."""


class SettingList(msgspec.Struct, frozen=True, kw_only=True):
    settings: list[SettingView]


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    release: str
    protocol: int
    """Of what daemon and workers say to each other."""
    build: str = ""
    """Which code the daemon runs: the release's folder."""
    forks: str | None = None
    """Which code sessions get that start now; None: the fork server does not answer."""
    engine: str = ""
    """Folder of their engine; empty: the one that came with the release."""
