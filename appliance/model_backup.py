"""Backups as CLI, API and the doctor see them. Imports nothing of ours."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

StoreName = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$", description="Name of a folder.")]


class BackupRun(msgspec.Struct, frozen=True, kw_only=True):
    """One backup that was made."""

    id: str
    at: float
    reason: str
    """Why: timer, operator, upgrade."""
    seconds: float
    sessions: int
    """With a login in it."""
    skipped: dict[str, str]
    """Sessions whose login could not be saved, and why: none, unless a disk or a worker is broken."""
    files: int
    size: int
    """Bytes of what can be restored, media included."""
    added: int
    """Bytes that the repository grew by: what was there already is not stored again."""
    media: int | None
    """Objects of media; None: media is not part of it."""
    removed: int
    """Older backups that the retention took away."""
    release: str


class BackupCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The repository was read, and a backup taken out and compared."""

    id: str
    """Of the backup that was taken out."""
    at: float
    seconds: float
    files: int
    size: int
    sessions: int
    all_data: bool
    """Whether every byte of the repository was read as well."""


class BackupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered between two backups, beside the state; the doctor reads it."""

    last_run: BackupRun | None = None
    last_check: BackupCheck | None = None
    error: str = ""
    """Why the last run or check failed, with the remedy; empty: it did not."""
    error_at: float | None = None
    key_made_at: float | None = None
    key_shown_at: float | None = None
    key_confirmed_at: float | None = None
    """When somebody said that the key is kept off this machine."""
    restored_at: float | None = None
    """When this machine's state came out of a backup."""


class LeaseView(msgspec.Struct, frozen=True, kw_only=True):
    """Which machine runs the sessions of this repository, as it says itself."""

    node_id: str
    host: str
    term: int
    """Grows with every restore: the highest one is right."""
    renewed_at: float
    ours: bool


class BackupView(msgspec.Struct, frozen=True, kw_only=True):
    """How backups are."""

    repository: str
    """Where they go."""
    media: bool
    record: BackupRecord
    lease: LeaseView | None
    """None: nobody has said so there, or it cannot be read now."""
    lease_error: str = ""
    """Why the lease cannot be renewed now; empty: it is."""
    superseded: bool = False
    """Another machine has taken over: no session runs here."""


class SavedBackup(msgspec.Struct, frozen=True, kw_only=True):
    """One backup in the repository."""

    id: str
    at: float
    host: str
    reason: str
    release: str
    media: bool


class RestoreSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A store that lies in the session's folder and came out of a backup; `amda backup restore --session` puts it
    there."""

    store: StoreName
    phone: Annotated[str, Meta(max_length=20)] | None = None
    jid: Annotated[str, Meta(max_length=100)]
    lid: Annotated[str, Meta(max_length=100)] = ""
    seen: Annotated[int, Meta(ge=0)] = 0
    """Number of the last event in it: what it tells was told before."""


class RestoreReport(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Of the backup."""
    made_at: float
    sessions: list[str]
    files: int
    size: int
    media: int | None
    """Objects put into the store; None: none were asked for, or in the backup."""
    media_missing: int
    """Objects that the index names and the backup does not hold; they may still be in the store."""
    notes: list[str]
    """What was done with settings, and what is left to do."""
