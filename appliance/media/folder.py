"""Media in a plain folder: the default of demo, tests and small boxes. What `put` has returned survives a power cut."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

from appliance.media.keys import check_key
from appliance.media.store import CHUNK_BYTES, ContentChangedError, StoredObject, StoreError

_INCOMING: Final = ".incoming"
"""Files that are being written lie here, on the same file system, until they are whole."""
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class FolderStore:
    """Implements `ObjectStore`. `root` is made at the first use, with mode 0700."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        check_key(key)
        try:
            await asyncio.to_thread(self._put, key, source, size, sha256)
        except OSError as error:
            raise StoreError(
                f"media folder {self._root}: {error.strerror}; check free space, owner and mode"
            ) from error

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        try:
            file = await asyncio.to_thread((self._root / key).open, "rb")
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError as error:
            raise StoreError(f"media folder {self._root}: {error.strerror}; check owner and mode") from error
        with file:
            file.seek(offset)
            left = length
            while left is None or left > 0:
                piece = await asyncio.to_thread(file.read, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
                if not piece:
                    return
                left = None if left is None else left - len(piece)
                yield piece

    async def delete(self, key: str) -> None:
        check_key(key)
        try:
            await asyncio.to_thread((self._root / key).unlink, missing_ok=True)
        except OSError as error:
            raise StoreError(f"media folder {self._root}: {error.strerror}; check owner and mode") from error

    async def list_objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        for found in await asyncio.to_thread(self._walk, prefix):
            yield found

    async def clear_incoming(self) -> int:
        """Remove what an interrupted `put` has left behind; returns how many files. Call before the first `put`."""
        return await asyncio.to_thread(self._clear_incoming)

    def _put(self, key: str, source: BinaryIO, size: int, sha256: str) -> None:
        target = self._root / key
        self._make_folder(target.parent)
        incoming = self._root / _INCOMING
        incoming.mkdir(mode=0o700, exist_ok=True)
        temporary = incoming / uuid.uuid4().hex
        try:
            with os.fdopen(os.open(temporary, _CREATE, 0o600), "wb") as file:
                _copy_checked(source, file, size, sha256)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def _make_folder(self, folder: Path) -> None:
        """Make it and everything above it, each entry durable."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            new.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(new.parent)

    def _walk(self, prefix: str) -> list[StoredObject]:
        found = []
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if name != _INCOMING]
            for name in names:
                path = Path(folder, name)
                key = path.relative_to(self._root).as_posix()
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    if key.startswith(prefix):
                        status = path.stat()
                        found.append(StoredObject(key=key, size=status.st_size, modified_at=status.st_mtime))
        return found

    def _clear_incoming(self) -> int:
        incoming = self._root / _INCOMING
        left = list(incoming.iterdir()) if incoming.is_dir() else []
        for file in left:
            file.unlink(missing_ok=True)
        return len(left)


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
