"""Brings everything that a backup holds into one folder, while the appliance works and without asking it to stop.

The order is what makes it consistent. First each session's stores: the engine's keys, then what was captured, then the
spool, so that whatever was handed on in the meantime is in a later part. Last the daemon's database, which knows which
stores are the sessions', what was stored, and which events were taken.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance import __version__
from appliance.backup import redis_state
from appliance.backup.errors import BackupError
from appliance.backup.manifest import (
    DATABASE,
    FORMAT,
    NAME,
    SESSIONS,
    SETTINGS,
    Manifest,
    SavedSession,
    SettingsFile,
    list_files,
)
from appliance.config import Settings
from appliance.database_copy import CopyError, copy_database
from appliance.media.spool import POISON, SPOOL
from appliance.model import SESSION_ID_PATTERN
from appliance.sessions.registry import store_folder

STORE_DATABASES: Final = ("device.db", "capture.db")
"""In this order: what was decrypted with a key that is saved may be captured a moment later, never the reverse."""
_PART: Final = ".part"

_Store = tuple[str, str]
"""Session, and the name of its folder."""
Step = Callable[[str], None]
"""Told what is done now, in a few words."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What was read beforehand: files that only root may read, and what Redis holds."""

    settings: Sequence[tuple[SettingsFile, bytes]]
    settings_file: str
    redis: list[redis_state.RedisKey] | None
    """None: it does not run."""


def stage(settings: Settings, folder: Path, *, run: str, reason: str, given: Given, step: Step) -> Manifest:
    """Fill the empty `folder`, every file with mode 0600. Raises BackupError, OSError and sqlite3.Error."""
    paths = settings.paths
    if not paths.database.exists():
        raise BackupError(
            f"there is nothing to save in {paths.state_dir}", "Name the settings with --config, or AMDA_CONFIG."
        )
    stores, failed = _stage_stores(paths.sessions, folder / SESSIONS, step)
    step("database")
    schema = _copied(paths.database, folder / DATABASE)
    node_id, sessions = _read_sessions(folder / DATABASE)
    skipped = _match(paths.sessions, folder / SESSIONS, sessions, stores, failed)
    step("settings")
    for file, content in given.settings:
        _write(folder / SETTINGS / file.path.lstrip("/"), content)
    if given.redis is not None:
        _write(folder / redis_state.NAME, msgspec.json.encode(given.redis))
    step("list")
    manifest = Manifest(
        format=FORMAT,
        id=run,
        at=time.time(),
        reason=reason,
        release=__version__,
        schema=schema,
        node_id=node_id,
        host=platform.node(),
        state_dir=str(paths.state_dir),
        sessions=[session for session in sessions if (folder / SESSIONS / session.id / session.store).is_dir()],
        skipped=skipped,
        settings=[file for file, _ in given.settings],
        settings_file=given.settings_file,
        files=list_files(folder),
    )
    _write(folder / NAME, msgspec.json.encode(manifest))
    return manifest


def _stage_stores(source: Path, target: Path, step: Step) -> tuple[set[_Store], dict[_Store, str]]:
    """Every store, also of attempts to link: which ones are the sessions' is known only afterwards. Returns those that
    are whole, and why others are not."""
    done, failed = set(), {}
    names = sorted(path.name for path in source.iterdir()) if source.is_dir() else []
    for session in names:
        if not SESSION_ID_PATTERN.fullmatch(session) or (source / session).is_symlink():
            continue
        step(f"session {session}")
        for store in sorted((source / session).iterdir()):
            if store.is_dir() and not store.is_symlink():
                if reason := _try_store(store, target / session / store.name):
                    failed[session, store.name] = reason
                else:
                    done.add((session, store.name))
    return done, failed


def _try_store(source: Path, target: Path) -> str:
    """Stage a store whole or not at all; why not. One that is damaged, or goes meanwhile, is no reason to save nothing
    of the others."""
    try:
        _stage_store(source, target)
    except (BackupError, FileNotFoundError) as error:
        shutil.rmtree(target, ignore_errors=True)
        return str(error)
    return ""


def _stage_store(source: Path, target: Path) -> None:
    """Raises FileNotFoundError if it goes meanwhile."""
    _make(target)
    for name in STORE_DATABASES:
        if (source / name).exists():
            _copied(source / name, target / name)
    for folder in (SPOOL, f"{SPOOL}/{POISON}"):
        _take_files(source / folder, target / folder)


def _take_files(source: Path, target: Path) -> None:
    """Whole files of a folder that a worker writes to: by a second name, for none is ever changed once it is there.

    Links are left alone: a worker that was taken over must not have others' files saved as its own.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for name in sorted(os.listdir(fd)):  # noqa: PTH208 - a descriptor
                with contextlib.suppress(FileNotFoundError):
                    if not name.endswith(_PART) and stat.S_ISREG(
                        os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
                    ):
                        _make(target)
                        _take_file(name, fd, target / name)
        finally:
            os.close(fd)


def _take_file(name: str, folder_fd: int, target: Path) -> None:
    with contextlib.suppress(PermissionError):  # another's file
        os.link(name, target, src_dir_fd=folder_fd, follow_symlinks=False)
    if not target.exists():
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
        with os.fdopen(fd, "rb") as source:
            _write(target, source.read())


def _match(
    source: Path, target: Path, sessions: Sequence[SavedSession], stores: set[_Store], failed: dict[_Store, str]
) -> dict[str, str]:
    """Exactly the stores that the saved database names: one that was promoted meanwhile is taken now. Returns the
    sessions whose store could not be saved, and why."""
    wanted = {(session.id, session.store) for session in sessions}
    skipped = {}
    for session, store in sorted(wanted - stores):
        there = (source / session / store).is_dir()
        if there and (reason := _try_store(source / session / store, target / session / store)):
            skipped[session] = failed.get((session, store), reason)
    for session, store in stores - wanted:
        shutil.rmtree(target / session / store)
    return skipped


def _read_sessions(database: Path) -> tuple[str, list[SavedSession]]:
    """The appliance's name, and its sessions that have a store."""
    with contextlib.closing(sqlite3.connect(database)) as copy:
        node = copy.execute("SELECT value FROM meta WHERE key = 'node_id'").fetchone()
        rows = copy.execute("SELECT id, store_url, generation FROM sessions WHERE store_url IS NOT NULL ORDER BY id")
        sessions = [SavedSession(id=row[0], store=store_folder(row[1]).name, generation=row[2]) for row in rows]
    return str(node[0]) if node else "", sessions


def _copied(source: Path, target: Path) -> int:
    """Raises BackupError, FileNotFoundError."""
    try:
        return copy_database(source, target)
    except CopyError as error:
        raise BackupError(str(error), "Look at its disk: journalctl -k") from error
    except sqlite3.Error as error:
        if not source.exists():
            raise FileNotFoundError(str(source)) from error
        raise BackupError(
            f"{source} cannot be copied: {error}", "Make room, or look at its disk: journalctl -k"
        ) from error


def _make(folder: Path) -> None:
    """With its parents, for nobody else."""
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(mode=0o700)


def _write(path: Path, content: bytes) -> None:
    _make(path.parent)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
