"""What an object store must do; the folder is the first one, S3 follows on the same protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO, Protocol

import msgspec

CHUNK_BYTES = 256 * 1024
"""Read, hashed and sent at a time: large enough to be fast, small enough for sixty at once."""


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as a listing shows it."""

    key: str
    size: int
    modified_at: float


class StoreError(Exception):
    """The store cannot do it now (away, full, forbidden); trying again later makes sense. One line, with the remedy."""


class ContentChangedError(Exception):
    """The bytes read while storing are not those that were announced; nothing was stored."""


class ObjectStore(Protocol):
    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        """Store the bytes of `source` from its present position; durable on return; an object of that key is replaced
        in one step. Raises `ContentChangedError` if length or hash differ, `StoreError` if it cannot be done now."""
        ...

    def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The object's bytes in pieces. Raises KeyError if there is none, `StoreError` if it cannot be read now."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there counts as removed."""
        ...

    def list_objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Every object whose key begins with `prefix`, in no order that can be relied on."""
        ...
