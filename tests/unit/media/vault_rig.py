"""A vault over a store that is watched at every step and can be killed like a process: nothing runs afterwards."""

from __future__ import annotations

import hashlib
import io
import os
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from appliance.database import Database
from appliance.events import EventBus
from appliance.media.audit import Auditor
from appliance.media.folder import FolderStore
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex, StoredAs
from appliance.media.keys import object_key
from appliance.media.settings import StorageSettings
from appliance.media.store import ObjectStore
from appliance.media.tending import StoreKeeper
from appliance.media.usage import StorageReport
from appliance.media.vault import Vault
from appliance.model import Category, MediaKind, MediaView
from appliance.protocol import SpoolItem


class Killed(BaseException):
    """The process is no more."""


def bytes_below(folder: Path) -> int:
    """What really lies there, half-written files included."""
    return sum(os.stat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)  # noqa: PTH116, PTH118


class _Watched(io.BufferedIOBase):
    """A source that tells when its last byte was written, before the file has its final name."""

    def __init__(self, source: BinaryIO, at_end: Callable[[], None]) -> None:
        self._source = source
        self._at_end = at_end

    def read(self, size: int | None = -1, /) -> bytes:
        piece = self._source.read(-1 if size is None else size)
        if not piece:
            self._at_end()
        return piece


class WatchedStore:
    """A store that is counted at every step, half-written objects included, and measured now and then; `kill_in` counts
    down to a kill before or after a step."""

    def __init__(self, store: ObjectStore, quota: int) -> None:
        self.inner = store
        self.name = store.name
        self.quota = quota
        self.kill_in: int | None = None
        self.most = 0
        self._held: dict[str, int] = {}
        self._total = 0
        self._counting = threading.Lock()
        self.prepare = store.prepare
        self.get = store.get
        self.stat = store.stat
        self.list_objects = store.list_objects
        self.clear_leftovers = store.clear_leftovers
        self.close = store.close

    async def measure(self) -> None:
        """Compare the count with the store itself. Nothing may be under way."""
        assert {found.key: found.size async for found in self.list_objects()} == self._held

    def _written(self, key: str, size: int) -> None:
        """All of it is there, beside what it may replace."""
        with self._counting:
            found = self._total + size
            self._total += size - self._held.pop(key, 0)
            self._held[key] = size
        self.most = max(self.most, found)
        assert found <= self.quota, f"{found} bytes in the store, the quota is {self.quota}"

    def _step(self) -> None:
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in < 0:
                raise Killed

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        self._step()
        watched = _Watched(source, lambda: self._written(key, size))
        await self.inner.put(key, cast("BinaryIO", watched), size=size, sha256=sha256)
        self._step()

    async def delete(self, keys: Sequence[str]) -> None:
        self._step()
        await self.inner.delete(keys)
        with self._counting:
            for key in keys:
                self._total -= self._held.pop(key, 0)
        self._step()


class VaultRig:
    def __init__(self, folder: Path, database: Database, store: ObjectStore | None = None, **changes: Any) -> None:
        self.database = database
        self.settings = msgspec.structs.replace(StorageSettings(path=folder / "media"), **changes)
        self.store = WatchedStore(store or FolderStore(self.settings.path), self.settings.quota_bytes)
        self.index = MediaIndex(database)
        self.holdings = Holdings(database)
        self.bus = EventBus(database, kept=100)
        self.now = 1_790_000_000.0
        self.vault = self._vault()
        self._number = 0

    def _vault(self) -> Vault:
        vault = Vault(self.store, self.index, self.holdings, self.settings, self.bus, clock=lambda: self.now)
        self.report = StorageReport(vault, self.holdings, lambda: self.now)
        self.auditor = Auditor(vault, self.holdings, lambda: self.now)
        self.keeper = StoreKeeper(vault, self.auditor, self.holdings, self.bus)
        return vault

    async def restart(self) -> None:
        """As a new process: only the database and the folder are left."""
        self.store.kill_in = None
        self.vault = self._vault()
        await self.vault.load()
        await self.vault.clear_up()
        await self.store.measure()

    async def add(
        self, session: str, size: int, *, content: int | None = None, category: Category = Category.STATUS
    ) -> MediaView:
        """`content`: the same number is the same content; otherwise each is unlike every other."""
        self._number += 1
        self.now += 1.0
        data = random.Random(self._number if content is None else -content).randbytes(32) + bytes(max(0, size - 32))
        sha256 = hashlib.sha256(data).hexdigest()
        item = SpoolItem(
            item=f"item{self._number}",
            session=session,
            category=category.value,
            kind=MediaKind.IMAGE,
            mimetype="image/jpeg",
            sha256=sha256,
            size=len(data),
            message_id=f"M{self._number}",
            chat="status@broadcast",
            sender="1@lid",
            sent_at=self.now,
            captured_at=self.now,
            caption=f"number {self._number}",
        )
        key = object_key(category, session, self.now, sha256, "jpg")
        stored = StoredAs(size=len(data), sha256=sha256, mimetype="image/jpeg")
        return await self.vault.add(item, key, io.BytesIO(data), stored)
