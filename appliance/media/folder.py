"""Media in a plain folder: the default of demo, tests and small boxes. What `put` has returned survives a power cut."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from appliance.media.keys import check_key
from appliance.media.store import CHUNK_BYTES, PAGE_KEYS, ContentChangedError, Leftovers, StoredObject, StoreError

_INCOMING: Final = ".incoming"
"""Files that are being written lie here, on the same file system, until they are whole."""
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class FolderStore:
    """Implements `ObjectStore`. `root` is made at the first use, with mode 0700."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writing: set[str] = set()
        """Names in the incoming folder that are being written by this process."""
        self._tree = threading.Lock()
        """Held while folders come and go, so that none goes between its making and its first file."""

    @property
    def name(self) -> str:
        return f"media folder {self._root}"

    async def prepare(self) -> None:
        try:
            await asyncio.to_thread(self._make_folder, self._root)
        except OSError as error:
            raise self._failure(error) from error

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        check_key(key)
        try:
            await asyncio.to_thread(self._put, key, source, size, sha256)
        except OSError as error:
            raise StoreError(f"{self.name}: {error.strerror}; check free space, owner and mode") from error

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        try:
            file = await asyncio.to_thread((self._root / key).open, "rb")
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError as error:
            raise self._failure(error) from error
        with file:
            file.seek(offset)
            left = length
            while left is None or left > 0:
                piece = await asyncio.to_thread(file.read, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece

    async def stat(self, key: str) -> StoredObject | None:
        check_key(key)
        try:
            status = await asyncio.to_thread((self._root / key).stat)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure(error) from error
        return StoredObject(key=key, size=status.st_size, modified_at=status.st_mtime)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            check_key(key)
        try:
            await asyncio.to_thread(self._delete, keys)
        except OSError as error:
            raise self._failure(error) from error

    async def list_objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        found = self._walk("", prefix)
        try:
            while page := await asyncio.to_thread(lambda: list(itertools.islice(found, PAGE_KEYS))):
                for item in page:
                    yield item
        except OSError as error:
            raise self._failure(error) from error

    async def clear_leftovers(self, keys: Sequence[str] = ()) -> Leftovers:  # noqa: ARG002
        """Half-written files have names of their own: `keys` say nothing here."""
        try:
            return await asyncio.to_thread(self._clear_incoming)
        except OSError as error:
            raise self._failure(error) from error

    async def close(self) -> None:
        """Nothing is kept open."""

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(f"{self.name}: {error.strerror}; check owner and mode")

    def _put(self, key: str, source: BinaryIO, size: int, sha256: str) -> None:
        target = self._root / key
        incoming = self._root / _INCOMING
        self._make_folder(incoming)
        temporary = incoming / uuid.uuid4().hex
        self._writing.add(temporary.name)
        try:
            with os.fdopen(os.open(temporary, _CREATE, 0o600), "wb") as file:
                _copy_checked(source, file, size, sha256)
                file.flush()
                os.fsync(file.fileno())
            with self._tree:
                self._make_folder(target.parent)
                temporary.rename(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            self._writing.discard(temporary.name)
        _sync_folder(target.parent)

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            (self._root / key).unlink(missing_ok=True)
        with self._tree:
            for folder in {Path(key).parent for key in keys}:
                with contextlib.suppress(OSError):  # not empty: the usual case
                    (self._root / folder).rmdir()

    def _make_folder(self, folder: Path) -> None:
        """Make it and everything above it, each entry durable."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(new.parent)

    def _walk(self, folder: str, prefix: str) -> Iterator[StoredObject]:
        """A folder sorts as its name with a slash, so that the order is that of whole keys."""
        try:
            with os.scandir(self._root / folder) as scan:
                entries = [(e.name + ("/" if e.is_dir(follow_symlinks=False) else ""), e) for e in scan]
        except FileNotFoundError:  # removed meanwhile, or not made yet
            return
        for name, entry in sorted(entries, key=lambda found: os.fsencode(found[0])):
            key = folder + name
            if key == f"{_INCOMING}/":
                continue
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(key, prefix)
            elif key.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield StoredObject(key=key, size=status.st_size, modified_at=status.st_mtime)

    def _clear_incoming(self) -> Leftovers:
        incoming = self._root / _INCOMING
        count = size = 0
        for file in list(incoming.iterdir()) if incoming.is_dir() else []:
            if file.name not in self._writing:
                with contextlib.suppress(FileNotFoundError):
                    size += file.stat().st_size
                    count += 1
                    file.unlink()
        return Leftovers(count=count, size=size)


def _copy_checked(source: BinaryIO, target: BinaryIO, size: int, sha256: str) -> None:
    digest = hashlib.sha256()
    copied = 0
    while piece := source.read(CHUNK_BYTES):
        copied += len(piece)
        if copied > size:
            break
        digest.update(piece)
        target.write(piece)
    if copied != size or digest.hexdigest() != sha256:
        raise ContentChangedError("the file changed while it was being stored")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
