"""An object store that tells how long each call took and whether it failed: for the metrics."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import BinaryIO, Protocol

from appliance.media.store import Leftovers, ObjectStore, StoredObject, StoreError


class StoreObserver(Protocol):
    def __call__(self, store: str, operation: str, seconds: float, *, failed: bool) -> None:
        """`store`: its kind; `seconds`: of a `get` or a listing, until the first piece was there."""
        ...


class TimedStore:
    """Implements `ObjectStore`: another one, with an observer."""

    def __init__(self, store: ObjectStore, kind: str, observe: StoreObserver) -> None:
        self._store = store
        self._kind = kind
        self._observe = observe

    @property
    def name(self) -> str:
        return self._store.name

    async def prepare(self) -> None:
        with self._timed("prepare"):
            await self._store.prepare()

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        with self._timed("put"):
            await self._store.put(key, source, size=size, sha256=sha256)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        pieces = self._store.get(key, offset, length)
        with self._timed("get"):
            first = await anext(pieces, None)
        if first is not None:
            yield first
            async for piece in pieces:
                yield piece

    async def stat(self, key: str) -> StoredObject | None:
        with self._timed("stat"):
            return await self._store.stat(key)

    async def delete(self, keys: Sequence[str]) -> None:
        with self._timed("delete"):
            await self._store.delete(keys)

    async def list_objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        found = self._store.list_objects(prefix)
        with self._timed("list"):
            first = await anext(found, None)
        if first is not None:
            yield first
            async for item in found:
                yield item

    async def clear_leftovers(self, keys: Sequence[str] = ()) -> Leftovers:
        with self._timed("clear_leftovers"):
            return await self._store.clear_leftovers(keys)

    async def close(self) -> None:
        await self._store.close()

    @contextlib.contextmanager
    def _timed(self, operation: str) -> Iterator[None]:
        began, failed = time.monotonic(), False
        try:
            yield
        except StoreError:
            failed = True
            raise
        finally:
            self._observe(self._kind, operation, time.monotonic() - began, failed=failed)
