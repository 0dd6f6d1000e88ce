"""Bodies of the API about storage: usage, quota, pruning, what was removed and what was refused."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.model import Category, MediaKind
from appliance.model_api import IntakeState, Limit, PoisonView, SessionId


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of one session, category and age (`day`, `week`, `month`, `older`: since when it is there)."""

    session: str
    category: Category
    age: str
    items: int
    objects: int
    """Contents; several items may share one."""
    size: int
    """Bytes as stored."""
    original_size: int
    """The same as downloaded."""
    pinned: int
    """Of `size`: what no pruning takes."""


class SessionUse(msgspec.Struct, frozen=True, kw_only=True):
    session: str
    items: int
    size: int
    """Bytes, what is on its way included."""
    share: float | None
    """Part of the session's quota; None: it has none."""


class StorageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes as stored. `used` includes `in_flight`, what is being uploaded or deleted just now, and `foreign`, what
    lies in the store without being the appliance's own."""

    store: str
    """What and where it is."""
    used: int
    in_flight: int
    foreign: int
    quota: int
    share: float
    pinned: int
    original_size: int
    per_day: float
    """Bytes that came within the last week, by day."""
    days_left: float | None
    """Until the quota is reached at that pace if nothing is removed; None: nothing comes."""
    prune_mode: str
    sessions: list[SessionUse]
    rows: list[UsageRow]


class WaitingRow(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in one session's spools and is not yet stored."""

    session: str
    items: int
    size: int
    oldest_s: float
    """Age of the oldest item."""


class MediaWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """What was captured and is not stored: what waits for it, and what could not be."""

    state: IntakeState
    waiting: list[WaitingRow]
    set_aside: list[PoisonView]
    """Newest first."""


class PixelsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As many pixels as fit."""

    width: Annotated[int, Meta(ge=1, le=400)]
    height: Annotated[int, Meta(ge=1, le=400)]


class Pixels(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture looks like, for those who should not have to open what strangers drew."""

    width: int
    height: int
    rgb: bytes
    """Three bytes for each pixel, row by row; in JSON as base64."""


class PruneRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without any field: what age and quota ask for. With `older_than_s`, `session` or `category`: what matches all of
    them, oldest first; `to_size` ends it as soon as no more than that is used, and alone it prunes fairly."""

    dry_run: bool = False
    older_than_s: Annotated[float, Meta(ge=0)] | None = None
    session: SessionId | None = None
    category: Category | None = None
    to_size: Annotated[int, Meta(ge=0)] | None = None


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    dry_run: bool
    objects: int
    size: int
    by_reason: dict[str, int]
    """Reason → contents."""
    by_session: dict[str, int]
    """Session → bytes."""
    used: int
    """Afterwards; of a dry run: what would be left."""
    stopped: bool = False
    """Somebody asked for the rest to stay; what is counted here has gone."""


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """The index compared with the store itself; counts are as found, before any repair."""

    repaired: bool
    hashes: bool
    """Whether every byte was read."""
    objects: int
    """That the store lists."""
    size: int
    missing: int
    """In the index, not in the store."""
    damaged: int
    """In both, and not with the same bytes."""
    strays: int
    """In the store, and nothing refers to it."""
    stray_size: int
    foreign: int
    """In the store, and not the appliance's own; never deleted."""
    foreign_size: int
    leftovers: int
    """Unfinished uploads that were taken back; looked for by a repair and every hour."""
    leftover_size: int
    named: list[str]
    """Keys of the first hundred missing, damaged and stray objects each."""


class MoveReport(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    """folder or s3."""
    copied: int
    """Objects, this time."""
    removed: int
    """Old copies."""
    backup: str
    """Folder with index and settings as they were; empty: nothing was moved, only old copies removed."""
    old: str
    """The store where everything lay before."""


class CleanupReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was put right, and what was removed; of a dry run: what would be."""

    dry_run: bool
    check: CheckReport
    prune: PruneReport


class JobState(enum.StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class StorageJob(msgspec.Struct, frozen=True, kw_only=True):
    """A check, a cleanup, a move or a prune: it takes as long as there are objects."""

    id: str
    kind: str
    """check, cleanup, move or prune."""
    session: str | None = None
    """The only one that a prune is about."""
    state: JobState = JobState.RUNNING
    done: int = 0
    """Objects so far, of …"""
    total: int
    """… so many at the beginning; of a prune: that were chosen, 0 until they are."""
    size_done: int = 0
    """Bytes so far, of a prune; of …"""
    size_total: int = 0
    """… so many."""
    started_at: float
    ended_at: float | None = None
    error: str = ""
    """Why it failed, with the remedy."""
    check: CheckReport | None = None
    move: MoveReport | None = None
    cleanup: CleanupReport | None = None
    prune: PruneReport | None = None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    job: StorageJob | None
    """The one under way, or the last one; none since the daemon started."""


class CheckRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    repair: bool = False
    """Delete what nobody refers to; take what is lost or damaged out of the index."""
    hashes: bool = False
    """Read every byte."""


class CleanupRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dry_run: bool = False
    """Change nothing, only tell."""


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    to: Literal["folder", "s3"]
    remove_old: bool = False
    """Delete the copies in the old store, once everything is compared and the new one is in use."""


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """One item that is no longer stored, and why."""

    at: float
    reason: str
    session: str
    category: Category
    media: str
    message_id: str
    kind: MediaKind
    size: int
    """Bytes of its content as stored; 0: other items still refer to it."""
    stored_at: float


class RemovalList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Removal]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was captured and could not be stored: there was no room. Only this reference is left."""

    at: float
    reason: str
    session: str
    category: Category
    kind: MediaKind
    size: int
    sha256: str
    message_id: str
    sent_at: float


class RefusalList(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Refusal]


class StorageListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 100
