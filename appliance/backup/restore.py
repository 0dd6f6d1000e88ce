"""A backup becomes this machine's state: sessions come online again without being linked anew.

Everything is taken out and compared before anything here is touched; then what this machine has is set aside, the saved
state takes its place, and the lease is taken over, so that the machine which had it stops as soon as it hears of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.backup import media, redis_state
from appliance.backup.adoption import adopt, check_release, lineage_of
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.key import replace_key
from appliance.backup.lease import Claim, Lease, check_nobody_runs, claim_of, taken_over, write_lease
from appliance.backup.manifest import DATABASE, SESSIONS, SETTINGS, Manifest
from appliance.backup.record import change_record, give_like, make_owned, write_private
from appliance.backup.repository import Repository
from appliance.backup.restic import Snapshot
from appliance.backup.services import stopped
from appliance.backup.settings_files import put_back
from appliance.backup.work import Backups, Progress, work_folder
from appliance.config import ConfigError, LoadedSettings, Settings, read_settings
from appliance.lifecycle import make_private
from appliance.media.settings import StorageKind
from appliance.media.store import StoreError
from appliance.media.stores import open_store
from appliance.model_backup import RestoreReport
from appliance.pairing.redis_client import RedisClient
from appliance.redis_server import RedisError, RedisServer

FOLDER: Final = "restore"
SET_ASIDE: Final = "before-restore-"
_NODE_DIGITS: Final = 12
"""As `Database.node_id` makes them."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asks for."""

    backup: str | None = None
    """None: the newest."""
    key: str | None = None
    """None: the key that lies on this machine."""
    old_machine_is_off: bool = False
    replace: bool = False
    """Set aside the sessions that this machine has."""
    with_media: bool = True
    """If the backup holds any."""


async def restore(
    loaded: LoadedSettings, wish: Wish, repository: Repository | None, progress: Progress
) -> RestoreReport:
    """From `repository`, otherwise from the one of the settings. Raises BackupError; then the state is as it was."""
    settings = loaded.settings
    for folder in (settings.paths.state_dir, settings.paths.run_dir):
        make_private(folder)
    with _plain_errors(settings), work_folder(settings.paths.backups, FOLDER) as folder:
        key_file = key_file_of(wish, folder)
        async with Backups(settings, repository, key_file) as backups:
            snapshot = await backups.find(wish.backup)
            own = _own_claim(settings.paths.database)
            held = await check_nobody_runs(backups.repository, own.node_id, old_machine_is_off=wish.old_machine_is_off)
            _check_replaces(settings, replace=wish.replace)
            taken = folder / "taken"
            make_private(taken)
            manifest = await backups.take_out(snapshot, taken, progress)
            check_release(manifest)
            saved_media = await backups.media_of(snapshot) if wish.with_media else None
            async with stopped(loaded):
                work = _Restoring(loaded, backups, taken, manifest, wish, progress)
                return await work.carry_out(held, own.term, saved_media)


class _Restoring:
    """The part in which things change."""

    def __init__(
        self,
        loaded: LoadedSettings,
        backups: Backups,
        taken: Path,
        manifest: Manifest,
        wish: Wish,
        progress: Progress,
    ) -> None:
        self._loaded = loaded
        self._settings = loaded.settings
        self._backups = backups
        self._taken = taken
        self._manifest = manifest
        self._wish = wish
        self._progress = progress
        self._notes: list[str] = []

    async def carry_out(self, held: Lease | None, term: int, saved_media: Snapshot | None) -> RestoreReport:
        manifest, paths = self._manifest, self._settings.paths
        node_id = uuid.uuid4().hex[:_NODE_DIGITS]
        database = self._taken / DATABASE
        lease = taken_over(held, lineage_of(database), node_id, platform.node(), term)
        adopt(self._taken, manifest, state_dir=paths.state_dir, node_id=node_id, term=lease.term)
        keys = media.indexed(database)
        await self._take_lease(lease)
        self._progress("putting it in place", 0, 0)
        await asyncio.to_thread(self._place)
        # The sessions are here from now on: whatever else fails is told, and leaves them to come online.
        settings = self._restore_settings()
        await self._restore_key(settings)
        await self._restore_redis(settings)
        missing = await self._restore_media(settings, saved_media, keys)
        _give_all(paths.state_dir)
        change_record(paths.backups, restored_at=time.time())
        return RestoreReport(
            id=manifest.id,
            made_at=manifest.at,
            sessions=[session.id for session in manifest.sessions],
            files=len(manifest.files),
            size=manifest.size,
            media=None if missing is None else len(keys) - missing,
            media_missing=missing or 0,
            notes=self._notes,
        )

    async def _take_lease(self, lease: Lease) -> None:
        """The old machine reads this at its next renewal. A copy of the repository that cannot be written to tells it
        nothing: only who knows that it is off may go on."""
        try:
            await write_lease(self._backups.repository, lease)
        except BackupError as error:
            if not self._wish.old_machine_is_off:
                raise BackupError(
                    f"{error}; so the machine that made this backup cannot be told that it was replaced",
                    "If it is off for good: --old-machine-is-off",
                    error.kind,
                ) from error
            self._notes.append(f"the lease was not taken over: {error}")

    def _place(self) -> None:
        paths = self._settings.paths
        aside = paths.backups / time.strftime(f"{SET_ASIDE}%Y%m%dT%H%M%SZ", time.gmtime())
        old = [path for path in (*paths.state_dir.glob(f"{DATABASE}*"), paths.sessions) if path.exists()]
        new = [(self._taken / SESSIONS, paths.sessions), (self._taken / DATABASE, paths.database)]
        moves = [(path, aside / path.name) for path in old] + new
        if old:
            make_owned(aside)
        new[0][0].mkdir(mode=0o700, exist_ok=True)
        done: list[tuple[Path, Path]] = []
        try:
            for source, target in moves:
                source.replace(target)
                done.append((source, target))
        except OSError:
            for source, target in reversed(done):  # what was here is better than half of each
                target.replace(source)
            raise
        _sync(paths.state_dir)
        if (aside / SESSIONS).exists() and any((aside / SESSIONS).iterdir()):
            self._notes.append(f"the sessions that were here lie in {aside}; delete it when all is well")

    def _restore_settings(self) -> Settings:
        """Settings and secrets; returns what is in force then."""
        manifest, loaded = self._manifest, self._loaded
        try:
            self._notes += put_back(self._taken / SETTINGS, manifest.settings, manifest.settings_file, loaded)
            return read_settings(loaded.file).settings if loaded.found else self._settings
        except (OSError, ConfigError) as error:
            self._notes.append(f"settings are not all in place: {error}")
            return self._settings

    async def _restore_key(self, settings: Settings) -> None:
        """The key that was given is this machine's from now on, unless its own backups go on with another one."""
        key, own = self._wish.key, settings.backup.key_file
        if key is None:
            return
        try:
            if await self._has_backups_of(settings, own):
                self._notes.append(
                    "this machine's own backups go on with their own key; the one that was given opens only those that "
                    "were restored from: keep both"
                )
                return
            replace_key(own, settings.paths.backups, key)
        except OSError as error:
            self._notes.append(f"the key is not in place: {error}; amda backup run would make another one")

    async def _has_backups_of(self, settings: Settings, key_file: Path) -> bool:
        """Whether the repository of the settings was made by that key, and not by the one that was given."""
        if not await asyncio.to_thread(_is_another_key, key_file, self._wish.key):
            return False
        try:
            async with Backups(settings, key_file=key_file) as ours:
                return await ours.repository.exists() and bool(await ours.saved())
        except (BackupError, ValueError):
            return False

    async def _restore_redis(self, settings: Settings) -> None:
        file = self._taken / redis_state.NAME
        if not file.exists():
            return
        keys = msgspec.json.decode(file.read_bytes(), type=list[redis_state.RedisKey])
        passed_ms = max(0, round((time.time() - self._manifest.at) * 1000))
        try:
            async with _redis(settings) as client:
                await redis_state.load_redis(client, keys, passed_ms)
        except (BackupError, RedisError, OSError) as error:
            self._notes.append(f"limits of linking begin anew: {error}")

    async def _restore_media(
        self, settings: Settings, saved: Snapshot | None, keys: Sequence[tuple[str, int]]
    ) -> int | None:
        """How many objects of the index the backup did not hold; None if none were put back."""
        if saved is None:
            if keys:
                self._notes.append(
                    f"{len(keys)} objects of media are in the index and not in this backup; what its store has lost is "
                    "taken out of the index by: amda storage check --repair"
                )
            return None
        try:
            done = await self._put_media(settings, saved)
        except (BackupError, StoreError, ValueError) as error:
            self._notes.append(f"media is not back: {error}; mend that, and restore again with --replace")
            return None
        return len({key for key, _ in keys} - done)

    async def _put_media(self, settings: Settings, saved: Snapshot) -> set[str]:
        kind = StorageKind(media.kind_of_store(settings.paths.database) or settings.storage.kind)
        store = open_store(settings.storage, kind)
        try:
            await store.prepare()
            pieces = self._backups.restic.read_stream(saved.id, media.NAME)
            return await media.put_back(store, pieces, lambda count: self._progress(f"media: {count}", 0, 0))
        finally:
            await store.close()
            if kind is StorageKind.FOLDER:
                _give_all(settings.storage.path, settings.paths.state_dir)


@contextlib.asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[RedisClient]:
    """A client; of the appliance's own server, which only runs with it, for the length of the block."""
    own = None
    if settings.redis.own and settings.redis.url is None:
        own = RedisServer(
            folder=settings.paths.state_dir / "redis", socket=settings.paths.redis_socket, log=lambda _line: None
        )
        await own.start()
    client = RedisClient(settings.redis_url, user=settings.redis.user, password_file=settings.redis.password_file)
    try:
        yield client
    finally:
        await client.close()
        if own is not None:
            await own.stop()


def key_file_of(wish: Wish, folder: Path) -> Path | None:
    """The key that the operator gave, as a file in the work folder; None: that of this machine."""
    if wish.key is None:
        return None
    write_private(folder / "key", f"{wish.key}\n".encode())
    return folder / "key"


def _is_another_key(file: Path, key: str | None) -> bool:
    """Whether there is a key, and another one."""
    return file.exists() and file.read_text("utf-8").strip() != key


def _own_claim(database: Path) -> Claim:
    """Of the state that this machine has. One that is not there or cannot be read is a reason to restore."""
    try:
        return claim_of(database)
    except (BackupError, sqlite3.Error):
        return Claim(lineage="", node_id="", term=0)


def _check_replaces(settings: Settings, *, replace: bool) -> None:
    """Raises BackupError if sessions of this machine would be replaced without anybody having said so."""
    if replace or not settings.paths.database.exists():
        return
    with contextlib.closing(sqlite3.connect(f"{settings.paths.database.as_uri()}?mode=ro", uri=True)) as own:
        try:
            count = int(own.execute("SELECT count(*) FROM sessions WHERE store_url IS NOT NULL").fetchone()[0])
        except sqlite3.DatabaseError:
            return
    if count:
        raise BackupError(
            f"this machine has {count} linked sessions of its own",
            "To set them aside and take the backup's: --replace",
            BackupTrouble.REFUSED,
        )


def _give_all(folder: Path, like: Path | None = None) -> None:
    """Root has written; it belongs to the appliance's user."""
    if os.geteuid() != 0 or not folder.exists():
        return
    if like is not None:
        give_like(folder, like)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            give_like(path, folder)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _plain_errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise BackupError(
            f"the backup cannot be put in place: {error}", f"Look at the disk of {settings.paths.state_dir}: df -h"
        ) from error
