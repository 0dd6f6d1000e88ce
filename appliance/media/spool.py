"""One spool folder, as the daemon sees it. A worker writes there, so nothing in it is trusted.

Everything goes through a descriptor of the folder, never follows a symbolic link and opens regular files only: a worker
that was taken over must not be able to make the daemon read or delete anything outside its own folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

import msgspec

from appliance.media.policy import Holding
from appliance.model import SESSION_ID_PATTERN, Category
from appliance.protocol import SpoolItem

SPOOL: Final = "spool"
POISON: Final = "poison"
_SIDECAR: Final = ".json"
_DATA: Final = ".data"
_SIDECAR_LIMIT: Final = 256 * 1024
"""Captions have at most some thousand characters; a larger sidecar is broken or hostile."""
_REASON: Final = ".reason"
MOST_POISON: Final = 100
"""Items that are kept of those that a spool had to set aside: a worker gone mad must not fill the disk with them."""
MOST_POISON_BYTES: Final = 256 << 20
"""… and their bytes: a few of the largest that are fetched."""
_ORPHAN_AGE_S: Final = 24 * 3600
"""Data whose sidecar never came: the worker died between the two, and has long captured the message again."""


class BadItemError(Exception):
    """The item itself is wrong: trying again would not help. `str()` says what, without its content."""


class SpoolFolder:
    """Open for the time of a `with`. Raises OSError on entering if there is no such folder or a link stands for it."""

    def __init__(self, session_folder: Path, store: str) -> None:
        self.path = session_folder / store / SPOOL
        self._session_folder = session_folder
        self._store = store
        self._fd = -1

    def __enter__(self) -> SpoolFolder:
        with contextlib.ExitStack() as opened:
            fd = os.open(self._session_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            for name in (self._store, SPOOL):
                opened.callback(os.close, fd)
                fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        self._fd = fd
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def items(self) -> list[str]:
        """Names of the complete items, oldest first; what was left without a sidecar long ago is removed."""
        sidecars, data = {}, {}
        for name in os.listdir(self._fd):  # noqa: PTH208 - a descriptor
            with contextlib.suppress(FileNotFoundError):
                if name.endswith(_SIDECAR):
                    sidecars[name.removesuffix(_SIDECAR)] = self._modified_at(name)
                elif name.endswith(_DATA):
                    data[name.removesuffix(_DATA)] = self._modified_at(name)
        for item, modified_at in data.items():
            if item not in sidecars and modified_at < time.time() - _ORPHAN_AGE_S:
                self._unlink(item + _DATA)
        return sorted(sidecars, key=lambda item: (sidecars[item], item))

    def waiting(self, session: str) -> list[Holding]:
        """The complete items with the bytes that they take, oldest first; keys are `<store>/<item>`."""
        found = []
        for item in self.items():
            with contextlib.suppress(FileNotFoundError):
                data = os.stat(item + _DATA, dir_fd=self._fd, follow_symlinks=False)
                key = f"{self._store}/{item}"
                found.append(Holding(key=key, session=session, size=data.st_size, newest_at=data.st_mtime))
        return found

    def read(self, item: str, session: str) -> SpoolItem:
        """The sidecar. Raises `BadItemError` if it is not what a worker of this session writes, FileNotFoundError if it
        is gone."""
        with self._open(item + _SIDECAR) as file:
            content = file.read(_SIDECAR_LIMIT + 1)
        if len(content) > _SIDECAR_LIMIT:
            raise BadItemError("its description is too long")
        try:
            found = msgspec.json.decode(content, type=SpoolItem)
            Category(found.category)
        except (msgspec.DecodeError, ValueError) as error:
            raise BadItemError(f"its description cannot be read: {error}") from error
        if found.session != session or found.item != item:
            raise BadItemError("its description belongs to another item or session")
        return found

    def open_verified(self, item: SpoolItem) -> BufferedReader:
        """The data file at its beginning, after its size and hash were found right; raises `BadItemError` otherwise."""
        try:
            file = self._open(item.item + _DATA)
        except FileNotFoundError:
            raise BadItemError("its data file is missing") from None
        try:
            size = os.fstat(file.fileno()).st_size
            if size != item.size:
                raise BadItemError(f"its data has {size} bytes instead of {item.size}")
            if hashlib.file_digest(file, "sha256").hexdigest() != item.sha256:
                raise BadItemError("its data does not match its SHA-256")
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def remove(self, item: str) -> None:
        """Delete an item that is stored; the sidecar first, so that no sidecar without data is ever left."""
        self._unlink(item + _SIDECAR)
        os.fsync(self._fd)
        self._unlink(item + _DATA)

    def set_aside(self, item: str, reason: str) -> None:
        """Move a bad item to poison/ with its reason beside it; it is never looked at again."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(POISON, 0o700, dir_fd=self._fd)
        with self._poison() as poison:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            note = os.open(item + _REASON, flags, 0o600, dir_fd=poison)
            with os.fdopen(note, "w", encoding="utf-8") as file:
                file.write(reason + "\n")
            for name in (item + _DATA, item + _SIDECAR):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(name, name, src_dir_fd=self._fd, dst_dir_fd=poison)
            self._bound(poison)

    def bring_back(self, item: str) -> None:
        """Undo `set_aside`; the sidecar last, so that the item is seen when it is complete. Raises FileNotFoundError
        if there is no sidecar to bring back."""
        with self._poison() as poison:
            with contextlib.suppress(FileNotFoundError):
                os.rename(item + _DATA, item + _DATA, src_dir_fd=poison, dst_dir_fd=self._fd)
            os.rename(item + _SIDECAR, item + _SIDECAR, src_dir_fd=poison, dst_dir_fd=self._fd)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(item + _REASON, dir_fd=poison)
        os.fsync(self._fd)

    def discard(self, item: str) -> None:
        """Delete what was set aside; what is gone already counts as deleted."""
        with self._poison() as poison:
            for suffix in (_SIDECAR, _DATA, _REASON):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(item + suffix, dir_fd=poison)

    @contextlib.contextmanager
    def _poison(self) -> Iterator[int]:
        """A descriptor of the folder of what was set aside."""
        fd = os.open(POISON, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _bound(self, poison: int) -> None:
        """Forget the files of the oldest items beyond `MOST_POISON` and their bytes; why each was set aside stays on
        record."""
        found = []
        for name in os.listdir(poison):
            if name.endswith(_REASON):
                with contextlib.suppress(FileNotFoundError):
                    status = os.stat(name, dir_fd=poison, follow_symlinks=False)
                    found.append((status.st_mtime, name.removesuffix(_REASON)))
        left = MOST_POISON_BYTES
        for place, (_, item) in enumerate(sorted(found, reverse=True)):
            left -= _size_of(item + _DATA, poison)
            if place and (place >= MOST_POISON or left < 0):  # the latest stays, whatever its size
                self.discard(item)

    def _open(self, name: str) -> BufferedReader:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, dir_fd=self._fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link, a socket
                raise
            raise BadItemError("one of its files is no regular file") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise BadItemError("one of its files is no regular file")
        return os.fdopen(fd, "rb")

    def _modified_at(self, name: str) -> float:
        return os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mtime

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._fd)


def _size_of(name: str, folder: int) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
    except FileNotFoundError:  # no data came with it
        return 0


def spool_folders(sessions: Path) -> list[tuple[str, str]]:
    """(session, store) of every spool folder below the sessions' folder."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for session in sorted(path.name for path in sessions.iterdir()):
            with contextlib.suppress(OSError):  # removed meanwhile
                if SESSION_ID_PATTERN.fullmatch(session):
                    spools = sorted((sessions / session).glob(f"*/{SPOOL}"))
                    found += [(session, spool.parent.name) for spool in spools]
    return found


def waiting_items(sessions: Path) -> dict[str, list[Holding]]:
    """Session → what waits in its spools, oldest first."""
    waiting: dict[str, list[Holding]] = {}
    for session, store in spool_folders(sessions):
        with contextlib.suppress(OSError), SpoolFolder(sessions / session, store) as spool:  # removed meanwhile
            waiting.setdefault(session, []).extend(spool.waiting(session))
    return {session: sorted(found, key=lambda item: item.newest_at) for session, found in waiting.items()}


def waiting_bytes(sessions: Path) -> int:
    """What waits in all spools together."""
    return sum(item.size for items in waiting_items(sessions).values() for item in items)
