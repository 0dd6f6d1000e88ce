"""Bodies of the API about storage: usage, quota, pruning, what was removed and what was refused."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.model import Category, MediaKind
from appliance.model_api import Limit, SessionId


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
    """Bytes as stored. `used` includes `in_flight`: what is being uploaded or deleted just now."""

    used: int
    in_flight: int
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
