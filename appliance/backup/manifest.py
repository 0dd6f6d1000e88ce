"""What is in a backup: a list that is part of it, by which it is checked when it is taken out again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance.backup.errors import BackupError
from appliance.database_copy import CopyError, check_database

NAME: Final = "manifest.json"
FORMAT: Final = 1
DATABASE: Final = "amda.db"
SESSIONS: Final = "sessions"
SETTINGS: Final = "settings"


class SavedFile(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    """Within the backup."""
    size: int
    sha256: str


class SavedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session with a login."""

    id: str
    store: str
    """Name of the store's folder."""
    generation: int


class SettingsFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of settings or secrets, and where it belongs."""

    path: str
    mode: int
    user: str
    group: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    id: str
    at: float
    reason: str
    release: str
    schema: int
    """Of the daemon's database."""
    node_id: str
    host: str
    state_dir: str
    sessions: list[SavedSession]
    skipped: dict[str, str]
    """Sessions whose store could not be saved, and why."""
    settings: list[SettingsFile]
    settings_file: str
    """Of `settings`: the one that the appliance reads."""
    files: list[SavedFile]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def list_files(folder: Path) -> list[SavedFile]:
    """Every file below a folder but the list itself. Raises OSError."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != NAME:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(SavedFile(path=str(path.relative_to(folder)), size=path.stat().st_size, sha256=digest))
    return found


def read_manifest(folder: Path) -> Manifest:
    """Of a backup that was taken out. Raises BackupError."""
    try:
        manifest = msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(
            f"this backup has no list of what is in it ({error})", "Take another one: amda backup list"
        ) from (error)
    if manifest.format > FORMAT:
        raise BackupError(
            f"this backup was made by a newer release ({manifest.release})",
            "Install that release, and restore with it.",
        )
    return manifest


def check_contents(folder: Path, manifest: Manifest, step: Callable[[int], None] = lambda _done: None) -> None:
    """Compare every file with the list, and read every database. Raises BackupError that names the first that is wrong.

    `step` hears of the bytes compared so far.
    """
    there = {file.path: file for file in list_files(folder)}
    done = 0
    for file in manifest.files:
        if there.get(file.path) != file:
            state = "is not in the backup" if file.path not in there else "is not what was saved"
            raise BackupError(
                f"{file.path} {state}", "Take another backup: amda backup list; check the repository's disk."
            )
        if file.path.endswith(".db"):
            try:
                check_database(folder / file.path)
            except CopyError as error:
                raise BackupError(str(error), "Take another backup: amda backup list") from error
        done += file.size
        step(done)
