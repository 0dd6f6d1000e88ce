"""Moves all media to another store while the appliance works: copy, compare, switch; then, if asked, remove the old.

New media goes on coming into the old store and is copied in the next round; only the last round, which finds next to
nothing, and the switch itself hold everybody up. Stopped at any moment it goes on where it was: what was copied and
compared is on record. Nothing is removed before everything was compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

import structlog

from appliance.media.audit import Auditor, Progress
from appliance.media.holdings import Content, Holdings
from appliance.media.index_backup import back_up
from appliance.media.keys import KEY_PATTERN
from appliance.media.settings import StorageKind
from appliance.media.store import PAGE_KEYS, ContentChangedError, ObjectStore, StoreError
from appliance.media.vault import Vault
from appliance.model_storage import MoveReport

PARALLEL: Final = 3
"""Copies at the same time: none waits for the disk of another; each holds a part of 5 MiB at most."""
ROUNDS: Final = 10
"""Rounds before everybody is held up for the rest. Each is shorter than the one before unless media comes faster than
it can be copied; then the last one is long, and still right."""
_FEW: Final = 50
"""So few can be copied while everybody waits: a second or two."""

_log = structlog.get_logger(__name__)


class _Count:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.done = 0

    def add(self, number: int) -> None:
        self.done += number
        self._progress(self.done)


class Mover:
    def __init__(
        self,
        vault: Vault,
        auditor: Auditor,
        holdings: Holdings,
        database: Path,
        open_store: Callable[[StorageKind], ObjectStore],
        backups: Path,
        settings: Callable[[], bytes],
        room: Callable[[StorageKind], int | None],
    ) -> None:
        """`open_store`: raises ValueError if settings for that kind are missing. `database`: file of the
        index. `backups`: folder of the backups that a move begins with; `settings`: what they hold of the settings.
        `room`: bytes that may be written to a store; None: nobody knows."""
        self._vault = vault
        self._auditor = auditor
        self._holdings = holdings
        self._database = database
        self._open_store = open_store
        self._backups = backups
        self._settings = settings
        self._room = room

    async def move(self, source: StorageKind, to: StorageKind, *, remove_old: bool, progress: Progress) -> MoveReport:
        """From `source`, where all media lies now. If that is `to` already, only old copies are removed.

        Raises StoreError; OSError and sqlite3.Error if the backup fails. Nothing has changed then but copies.
        """
        backup, copied, old = "", 0, self._vault.store
        if source is to:
            other = StorageKind.FOLDER if to is StorageKind.S3 else StorageKind.S3
            old = self._opened(other)
        else:
            target = self._opened(to)
            await target.prepare()
            self._check_room(to, await self._holdings.bytes_not_moved(to))
            backup = str(await back_up(self._database, self._backups, self._settings()))
            count = _Count(progress)
            await self._copy_rounds(old, target, to, count)
            async with self._vault.still():
                await self._copy_rest(old, target, to, count)
                await self._holdings.set_kind(to)
                self._vault.switch(target)
            copied = count.done
            _log.info("media lies in another store now", store=target.name, copied=copied)
        removed = await _remove_all(old) if remove_old else 0
        if remove_old or source is not to:
            await self._holdings.forget_moves()
        await old.close()
        return MoveReport(to=to, copied=copied, removed=removed, backup=backup, old=old.name)

    def _opened(self, kind: StorageKind) -> ObjectStore:
        try:
            return self._open_store(kind)
        except ValueError as error:
            raise StoreError(str(error)) from error

    def _check_room(self, to: StorageKind, size: int) -> None:
        room = self._room(to)
        if room is not None and size > room:
            raise StoreError(
                f"{size >> 20} MiB are to be copied to a disk that has room for {room >> 20} MiB; media stays where it "
                "is; make room on it, or delete some first: amda storage prune"
            )

    async def _copy_rounds(self, old: ObjectStore, target: ObjectStore, to: StorageKind, count: _Count) -> None:
        for _ in range(ROUNDS):
            before = count.done
            await self._copy_all(old, target, to, count)
            if count.done - before <= _FEW:
                break

    async def _copy_rest(self, old: ObjectStore, target: ObjectStore, to: StorageKind, count: _Count) -> None:
        """Everything stands still: copy what came last, and see that nothing at all is missing."""
        await self._copy_all(old, target, to, count)
        if wrong := await self._auditor.missing_in(target):
            await self._holdings.forget_moves([content.key for content in wrong])
            await self._copy_all(old, target, to, count)
            if await self._auditor.missing_in(target):
                raise StoreError(f"{target.name} does not keep what is stored there; media stays where it is")

    async def _copy_all(self, old: ObjectStore, target: ObjectStore, to: StorageKind, count: _Count) -> None:
        failed: list[str] = []
        last = ""
        while page := await self._holdings.not_moved(to, last, PAGE_KEYS):
            last = page[-1].key
            for start in range(0, len(page), PARALLEL):
                batch = page[start : start + PARALLEL]
                self._check_room(to, sum(content.size for content in batch))
                results = await asyncio.gather(*(self._copy(old, target, content) for content in batch))
                done = [content.key for content, whole in zip(batch, results, strict=True) if whole]
                failed += [content.key for content, whole in zip(batch, results, strict=True) if not whole]
                await self._holdings.note_moved(to, done)
                count.add(len(done))
        failed = list(await self._holdings.known(failed))  # what was removed meanwhile is not missed
        if failed:
            raise StoreError(
                f"{len(failed)} objects are missing or damaged in the {old.name}, the first is {failed[0]}; media "
                "stays where it is; see what is wrong: amda storage check --hashes, then --repair, then move again"
            )

    async def _copy(self, old: ObjectStore, target: ObjectStore, content: Content) -> bool:
        """False: it is not there, or not what the index says. Raises StoreError."""
        with tempfile.TemporaryFile(dir=self._backups) as file:
            try:
                async for piece in old.get(content.key):
                    await asyncio.to_thread(file.write, piece)
                file.seek(0)
                await target.put(content.key, cast("BinaryIO", file), size=content.size, sha256=content.sha256)
            except (KeyError, ContentChangedError):
                return False
        digest = hashlib.sha256()
        try:
            async for piece in target.get(content.key):
                digest.update(piece)
        except KeyError:
            digest = hashlib.sha256(b"gone")
        if digest.hexdigest() != content.sha256:
            raise StoreError(f"{target.name} gave back other bytes than were stored; media stays where it is")
        return True


async def _remove_all(store: ObjectStore) -> int:
    """Delete everything under keys of ours."""
    removed = 0
    batch: list[str] = []

    async def flush(keys: Sequence[str]) -> None:
        nonlocal removed
        await store.delete(keys)
        removed += len(keys)

    async for item in store.list_objects():
        if KEY_PATTERN.fullmatch(item.key):
            batch.append(item.key)
            if len(batch) == PAGE_KEYS:
                await flush(batch)
                batch = []
    if batch:
        await flush(batch)
    await store.clear_leftovers()
    return removed
