"""One backup, from the staging folder to the retention: what `amda backup run`, the timer and an upgrade call.

Staging lies beside the state, is emptied before and after, and belongs to one run at a time. A backup counts from the
moment in which restic has written its state; media, which takes longest, comes before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import os
import platform
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

import msgspec
import structlog

from appliance import __version__
from appliance.backup import media
from appliance.backup.contents import Given, stage
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.key import make_key, read_key
from appliance.backup.lease import check_ours, claim_of
from appliance.backup.manifest import DATABASE, Manifest, check_contents, read_manifest
from appliance.backup.record import change_record, errors_recorded, make_owned, read_record
from appliance.backup.redis_state import RedisKey, dump_redis
from appliance.backup.repository import Repository, open_repository
from appliance.backup.restic import Restic, Snapshot, find_restic
from appliance.backup.settings_files import become_owner, read_files
from appliance.config import LoadedSettings, Settings
from appliance.media.settings import StorageKind
from appliance.media.stores import open_store
from appliance.model_backup import BackupCheck, BackupRun, SavedBackup
from appliance.pairing.redis_client import RedisClient

STATE_TAG: Final = "amda-state"
MEDIA_TAG: Final = "amda-media"
LOCK: Final = "backup.lock"
STAGING: Final = "staging"
TAKEN_OUT: Final = "verify"
CACHE: Final = "cache"
DAY_S: Final = 86_400.0
_ID_DIGITS: Final = 8

Progress = Callable[[str, int, int], None]
"""What is done now, how many bytes of it, of how many (0: not known)."""

_log = structlog.get_logger(__name__)


def no_progress(_step: str, _done: int, _total: int) -> None:
    """For callers that show none."""


@contextlib.contextmanager
def work_folder(backups: Path, name: str) -> Iterator[Path]:
    """An empty folder for one run, removed at its end; what a killed run left there is removed first.

    Raises BackupError of kind REFUSED while another run works.
    """
    try:
        make_owned(backups)
        with os.fdopen(os.open(backups / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupError(
                    "another backup, check or restore is under way", "Wait for it.", BackupTrouble.REFUSED
                ) from None
            folder = backups / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise BackupError(
            f"{error.filename or backups}: {error.strerror}", "Make room there, or mend its owner and mode."
        ) from error


class Backups:
    """The backups of one appliance; an asynchronous context manager."""

    def __init__(self, settings: Settings, repository: Repository | None = None, key_file: Path | None = None) -> None:
        self.settings = settings
        self.folder = settings.paths.backups
        self.repository = repository or open_repository(settings.backup)
        self.restic = Restic(self.repository, key_file or settings.backup.key_file, self.folder / CACHE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.repository.close()

    async def run(self, given: Given, *, reason: str, with_media: bool, progress: Progress) -> BackupRun:
        """Make one. Raises BackupError."""
        started, run = time.monotonic(), uuid.uuid4().hex[:_ID_DIGITS]
        with errors_recorded(self.folder), work_folder(self.folder, STAGING) as folder, _plain_errors():
            find_restic()
            make_key(self.settings.backup.key_file, self.folder)
            read_key(self.settings.backup.key_file)
            await self._prepare(progress)
            await check_ours(self.repository, claim_of(self.settings.paths.database))
            progress("collecting", 0, 0)
            manifest = await asyncio.to_thread(
                lambda: stage(
                    self.settings, folder, run=run, reason=reason, given=given,
                    step=lambda what: progress(f"collecting: {what}", 0, 0),
                )
            )  # fmt: skip
            tags: tuple[str, ...] = (f"run={run}", f"reason={reason}", f"release={__version__}")
            objects, added, size = None, 0, manifest.size
            if with_media:
                objects, media_added, media_size = await self._save_media(folder / DATABASE, tags, progress)
                added, size = added + media_added, size + media_size
                tags = (*tags, "media=yes")
            saved = await self.restic.save(
                folder, (STATE_TAG, *tags), platform.node(), lambda done, total: progress("saving", done, total)
            )
            progress("letting go of old ones", 0, 0)
            removed = await self._retain()
        made = BackupRun(
            id=run,
            at=manifest.at,
            reason=reason,
            seconds=round(time.monotonic() - started, 2),
            sessions=len(manifest.sessions),
            skipped=manifest.skipped,
            files=len(manifest.files),
            size=size,
            added=added + saved.data_added,
            media=objects,
            removed=removed,
            release=__version__,
        )
        change_record(self.folder, last_run=made)
        if manifest.skipped:
            session, why = next(iter(manifest.skipped.items()))
            text = f"{len(manifest.skipped)} sessions are not in the backup; {session}: {why}"
            change_record(self.folder, error=text, error_at=made.at)
        return made

    async def verify(self, backup: str | None, *, all_data: bool, progress: Progress) -> BackupCheck:
        """Check the repository, take a backup (default: the newest) out and compare all of it. Raises BackupError."""
        started = time.monotonic()
        with errors_recorded(self.folder), work_folder(self.folder, TAKEN_OUT) as folder, _plain_errors():
            snapshot = await self.find(backup)
            await self.restic.unlock()
            progress("reading the repository", 0, 0)
            await self.restic.check(all_data=all_data)
            manifest = await self.take_out(snapshot, folder, progress)
        done = BackupCheck(
            id=manifest.id,
            at=time.time(),
            seconds=round(time.monotonic() - started, 2),
            files=len(manifest.files),
            size=manifest.size,
            sessions=len(manifest.sessions),
            all_data=all_data,
        )
        change_record(self.folder, last_check=done)
        return done

    def is_check_due(self) -> bool:
        """Whether the newest backup is to be taken out again."""
        last = read_record(self.folder).last_check
        return last is None or time.time() - last.at >= self.settings.backup.verify_days * DAY_S

    async def saved(self) -> list[SavedBackup]:
        """What can be restored, newest first. Raises BackupError."""
        found = [_saved(snapshot) for snapshot in await self._snapshots()]
        return found[::-1]

    async def find(self, backup: str | None) -> Snapshot:
        """A backup by its id; None: the newest. Raises BackupError."""
        found = await self._snapshots()
        if backup is None and found:
            return found[-1]
        for snapshot in found:
            if backup is not None and snapshot.tag("run").startswith(backup):
                return snapshot
        name = self.repository.name
        raise BackupError(
            f"there are no backups in the {name}" if backup is None else f"there is no backup {backup} in the {name}",
            "Make one: amda backup run" if backup is None else "List them: amda backup list",
            BackupTrouble.NOT_FOUND,
        )

    async def media_of(self, snapshot: Snapshot) -> Snapshot | None:
        """The media that was saved with a backup."""
        run = snapshot.tag("run")
        return next((one for one in await self.restic.snapshots(MEDIA_TAG) if one.tag("run") == run), None)

    async def take_out(self, snapshot: Snapshot, folder: Path, progress: Progress) -> Manifest:
        """Write a backup's files into `folder` and compare them with its own list. Raises BackupError."""
        progress("taking it out", 0, 0)
        await self.restic.restore(snapshot.id, folder)
        manifest = read_manifest(folder)
        await asyncio.to_thread(
            check_contents, folder, manifest, lambda done: progress("comparing", done, manifest.size)
        )
        return manifest

    async def _snapshots(self) -> list[Snapshot]:
        if not await self.repository.exists():
            raise BackupError(
                f"there are no backups in the {self.repository.name}",
                "Make one: amda backup run",
                BackupTrouble.NOT_FOUND,
            )
        found = await self.restic.snapshots(STATE_TAG)
        return sorted(found, key=lambda snapshot: snapshot.time)

    async def _prepare(self, progress: Progress) -> None:
        if await self.repository.exists():
            await self.restic.unlock()
            return
        progress("making the repository", 0, 0)
        if self.settings.backup.kind is StorageKind.FOLDER:
            make_owned(self.settings.backup.path)
        await self.restic.init()

    async def _save_media(self, database: Path, tags: tuple[str, ...], progress: Progress) -> tuple[int, int, int]:
        """Objects, bytes that the repository grew by, bytes."""
        wanted = await asyncio.to_thread(media.indexed, database)
        kind = StorageKind(media.kind_of_store(database) or self.settings.storage.kind)
        total = sum(size for _, size in wanted)
        store = open_store(self.settings.storage, kind)
        try:
            stream = media.MediaStream(store, wanted)
            saved = await self.restic.save_stream(
                stream.pieces(), media.NAME, (MEDIA_TAG, *tags), platform.node(),
                lambda done, _total: progress("saving media", done, total),
            )  # fmt: skip
        finally:
            await store.close()
        return stream.objects, saved.data_added, saved.total_bytes_processed

    async def _retain(self) -> int:
        """By the settings; media goes with the backup that it was saved with. Returns how many backups went."""
        kept = self.settings.backup
        removed = await self.restic.forget(STATE_TAG, kept.keep_daily, kept.keep_weekly, kept.keep_monthly)
        alive = {snapshot.tag("run") for snapshot in await self.restic.snapshots(STATE_TAG)}
        orphans = [one.id for one in await self.restic.snapshots(MEDIA_TAG) if one.tag("run") not in alive]
        await self.restic.drop(orphans)
        if removed or orphans:
            await self.restic.prune()
        return removed


async def collect(loaded: LoadedSettings) -> Given:
    """What has to be read before root becomes the appliance's user. Raises BackupError."""
    return Given(settings=read_files(loaded), settings_file=str(loaded.file), redis=await _redis(loaded.settings))


async def take_backup(
    loaded: LoadedSettings,
    *,
    reason: str = "operator",
    with_media: bool | None = None,
    progress: Progress = no_progress,
) -> BackupRun:
    """Make a backup while the appliance runs, or is stopped; returns when it can be restored.

    `with_media`: None: as `backup.media` says. As root, this process goes on as the appliance's user from here on.
    Raises BackupError: one line, and what to do about it.
    """
    settings = loaded.settings
    given = await collect(loaded)
    become_owner(settings)
    async with Backups(settings) as backups:
        wanted = settings.backup.media if with_media is None else with_media
        return await backups.run(given, reason=reason, with_media=wanted, progress=progress)


async def _redis(settings: Settings) -> list[RedisKey] | None:
    try:
        client = RedisClient(settings.redis_url, user=settings.redis.user, password_file=settings.redis.password_file)
    except OSError as error:
        raise BackupError(
            f"{settings.redis.password_file}: {error.strerror}", "Run it as root, or as the appliance's user."
        ) from error
    try:
        return await dump_redis(client)
    except BackupError as error:
        _log.warning("the backup is made without what Redis holds", reason=str(error))
        return None
    finally:
        await client.close()


def _saved(snapshot: Snapshot) -> SavedBackup:
    return SavedBackup(
        id=snapshot.tag("run"),
        at=_seconds(snapshot.time),
        host=snapshot.hostname,
        reason=snapshot.tag("reason"),
        release=snapshot.tag("release"),
        media=snapshot.tag("media") == "yes",
    )


def _seconds(moment: str) -> float:
    """restic's times are RFC 3339 with nanoseconds, which msgspec cuts to microseconds."""
    return msgspec.convert(moment, datetime.datetime).timestamp()


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What only a broken machine raises becomes one line, too."""
    try:
        yield
    except sqlite3.Error as error:
        raise BackupError(f"a database cannot be read: {error}", "Look at its disk: journalctl -k") from error
