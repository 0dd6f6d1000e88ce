"""What an object store must do; a plain folder and S3 both do it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO, Final, Protocol

import msgspec

CHUNK_BYTES = 256 * 1024
"""Read, hashed and sent at a time: large enough to be fast, small enough for sixty at once."""
PAGE_KEYS: Final = 1000
"""Keys that are listed or deleted with one step; S3 allows no more in one request."""


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object as a listing shows it."""

    key: str
    size: int
    modified_at: float


class Leftovers(msgspec.Struct, frozen=True, kw_only=True):
    """Uploads that were begun and neither completed nor taken back: they take room and no listing shows them."""

    count: int = 0
    size: int = 0
    """Bytes."""


class StoreError(Exception):
    """The store cannot do it now (away, full, forbidden); trying again later makes sense. One line, with the remedy."""


class ContentChangedError(Exception):
    """The bytes read while storing are not those that were announced; nothing was stored."""


class ObjectStore(Protocol):
    @property
    def name(self) -> str:
        """What and where, for people: no secret in it."""
        ...

    async def prepare(self) -> None:
        """Make folder or bucket if there is none yet. Raises `StoreError`."""
        ...

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        """Store the bytes of `source` from its present position; durable on return; an object of that key is replaced
        in one step. Raises `ContentChangedError` if length or hash differ, `StoreError` if it cannot be done now."""
        ...

    def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The object's bytes in pieces. Raises KeyError if there is none, `StoreError` if it cannot be read now."""
        ...

    async def stat(self, key: str) -> StoredObject | None:
        """The object without its bytes; None if there is none. Raises `StoreError`."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects, at most `PAGE_KEYS` at a time; one that is not there counts as removed. Raises `StoreError`;
        some may be gone then."""
        ...

    def list_objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Every object whose key begins with `prefix`, in ascending order of the keys' bytes. Raises `StoreError`."""
        ...

    async def clear_leftovers(self, keys: Sequence[str] = ()) -> Leftovers:
        """Take back uploads that nobody is making any more: all that the store shows, those of `keys` in any case.
        Returns what was found. Raises `StoreError`."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections; nothing may be under way."""
        ...
