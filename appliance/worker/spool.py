"""Puts captured files where the daemon takes them: durable first, visible afterwards.

An item is `<item>.data`, then `<item>.json`: each is written under another name, synchronised and renamed, and the
folder is synchronised, so that an item that can be seen is complete even after a power cut.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from appliance.protocol import SpoolItem

FOLDER: Final = "spool"
_PART: Final = ".part"
_FULL_ERRORS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_full(error: OSError) -> bool:
    """Whether writing failed for want of space."""
    return error.errno in _FULL_ERRORS


class Spool:
    """The spool folder of one store; used by several threads, one item by one of them at a time."""

    def __init__(self, store_folder: Path) -> None:
        self.folder = store_folder / FOLDER

    def prepare(self) -> None:
        """Make the folder; remove what an interrupted process has left half-written. Raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self.folder.glob(f"*{_PART}"):
            path.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Of the disk that the folder lies on, for us. Raises OSError."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def part(self, item: str, attempt: int) -> Path:
        """Where an attempt writes; each has its own, because an abandoned one may still be writing."""
        return self.folder / f"{item}.{attempt}.data{_PART}"

    def put_text(self, item: SpoolItem, text: str) -> None:
        """Store a text as an item. Raises OSError."""
        part = self.part(item.item, 0)
        with self._removed_on_failure(part):
            self._write(part, text.encode())
            self._publish(part, item)

    def put_file(self, item: SpoolItem, part: Path) -> SpoolItem:
        """Make a completely written `part` an item, with its real size and hash. Raises OSError."""
        with self._removed_on_failure(part):
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            item = msgspec.structs.replace(item, sha256=digest, size=part.stat().st_size)
            self._publish(part, item)
        return item

    def _publish(self, part: Path, item: SpoolItem) -> None:
        part.replace(self.folder / f"{item.item}.data")
        self._sync_folder()
        sidecar = self.folder / f"{item.item}.json{_PART}"
        with self._removed_on_failure(sidecar):
            self._write(sidecar, msgspec.json.encode(item))
            sidecar.replace(self.folder / f"{item.item}.json")
        self._sync_folder()

    def _write(self, path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _sync_folder(self) -> None:
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _removed_on_failure(self, path: Path) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
