"""Stored media in and out of a backup: one stream of everything, never a second copy of it on this disk.

It is a tar archive in the order of its keys, so that what was there the last time is recognised and not stored again,
and it goes back into whatever store the appliance has then: folder or S3.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import sqlite3
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.media.keys import KEY_PATTERN
from appliance.media.store import ObjectStore, StoreError

NAME: Final = "media.tar"
_BLOCK: Final = tarfile.BLOCKSIZE
_END: Final = bytes(2 * _BLOCK)
SPOOLED_BYTES: Final = 8 << 20
"""An object that is being put back is held in memory up to this size, otherwise in a file."""


def indexed(database: Path) -> list[tuple[str, int]]:
    """Keys and sizes of what the saved index names."""
    with contextlib.closing(sqlite3.connect(database)) as copy:
        return [(str(key), int(size)) for key, size in copy.execute("SELECT key, size FROM objects ORDER BY key")]


def kind_of_store(database: Path) -> str:
    """Where media lay when the database was saved: folder, s3, or empty."""
    with contextlib.closing(sqlite3.connect(database)) as copy:
        row = copy.execute("SELECT value FROM meta WHERE key = 'storage.kind'").fetchone()
    return str(row[0]) if row else ""


class MediaStream:
    """`pieces()` once; `objects` and `missing` say what it was."""

    def __init__(self, store: ObjectStore, wanted: list[tuple[str, int]]) -> None:
        self._store = store
        self._wanted = wanted
        self.objects = 0
        self.missing = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The archive. What was pruned meanwhile is left out. Raises BackupError if the store is away or damaged."""
        for key, size in self._wanted:
            try:
                pieces = self._store.get(key)
                try:  # what is open is whole, even if it is pruned while it is read
                    first = await anext(pieces, b"")
                except KeyError:
                    self.missing += 1
                    continue
                yield _header(key, size)
                left = size - len(first)
                yield first
                async for piece in pieces:
                    left -= len(piece)
                    yield piece
            except KeyError:
                left = size
            except StoreError as error:
                raise BackupError(
                    f"media cannot be read: {error}", "Try again when the store is back.", BackupTrouble.AWAY
                ) from (error)
            if left:
                raise BackupError(f"{key} is not what the index says", "Put it right: amda storage check --repair")
            yield bytes(-size % _BLOCK)
            self.objects += 1
        yield _END


async def put_back(store: ObjectStore, pieces: AsyncIterator[bytes], step: Callable[[int], None]) -> set[str]:
    """Store every object of an archive again; returns their keys. Raises BackupError."""
    source = _Stream(pieces)
    done: set[str] = set()
    while header := await source.take(_BLOCK):
        if not header.strip(b"\0"):
            break
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except tarfile.TarError as error:
            raise BackupError(
                f"the saved media is not whole: {error}", "Take another backup: amda backup list"
            ) from error
        if KEY_PATTERN.fullmatch(member.name) is None:
            raise BackupError(
                "the saved media holds something else than media", "Take another backup: amda backup list"
            )
        await _put_one(store, source, member)
        await source.take(-member.size % _BLOCK)
        done.add(member.name)
        step(len(done))
    return done


async def _put_one(store: ObjectStore, source: _Stream, member: tarfile.TarInfo) -> None:
    with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as file:
        digest = hashlib.sha256()
        left = member.size
        while left:
            piece = await source.take(min(left, 1 << 18))
            if not piece:
                raise BackupError("the saved media breaks off", "Take another backup: amda backup list")
            left -= len(piece)
            digest.update(piece)
            await asyncio.to_thread(file.write, piece)
        file.seek(0)
        try:
            await store.put(member.name, file, size=member.size, sha256=digest.hexdigest())  # type: ignore[arg-type]
        except StoreError as error:
            raise BackupError(
                f"media cannot be put back: {error}", "Mend the store, and restore again.", BackupTrouble.AWAY
            ) from (error)


class _Stream:
    """Takes exact numbers of bytes out of pieces of any size."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = io.BytesIO()

    async def take(self, count: int) -> bytes:
        """Fewer only at the end."""
        parts = []
        while count:
            if not (part := self._buffer.read(count)):
                try:
                    self._buffer = io.BytesIO(await anext(self._pieces))
                except StopAsyncIteration:
                    break
                continue
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _header(key: str, size: int) -> bytes:
    """The same bytes each time: no times, no owners."""
    member = tarfile.TarInfo(key)
    member.size, member.mode = size, 0o600
    return member.tobuf(tarfile.USTAR_FORMAT)
