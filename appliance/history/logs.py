"""The log of a session's process: its last lines, and what is added while somebody watches.

The file lies in a folder that the process itself may write: it is opened without following links, so that a hostile
worker cannot have the daemon show another file. Numbers and secrets are masked once more, for it also holds what the
engine and libraries print.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import watchfiles

from appliance.database import Database
from appliance.masking import clean_text
from appliance.problems import conflict, not_found
from appliance.sessions.registry import store_folder

LOG_NAME: Final = "worker.log"
"""As the fork server names it."""
LINE_MAX: Final = 4096
"""Longer lines are cut; tracebacks have many short ones."""
TAIL_BYTES: Final = 1 << 20
"""The fork server moves a longer log aside when a process starts."""
READ_BYTES: Final = 64 * 1024
WATCH_MS: Final = 1000
"""How often it is looked whether the session still has the same store, if nothing is written."""

StoreOf = Callable[[str], Awaitable[Path]]


def store_finder(database: Database) -> StoreOf:
    """Finds the folder of a session's present store. It raises ProblemError 404 for an unknown session, 409 if it was
    never linked."""

    async def find(session: str) -> Path:
        row = await database.fetch_one("SELECT store_url FROM sessions WHERE id = ?", (session,))
        if row is None:
            raise not_found("session", session, "List them: amda session list")
        if row["store_url"] is None:
            raise conflict(f"Session {session} was never linked.", f"Link it: amda pair {session} --phone +…")
        return store_folder(row["store_url"])

    return find


class Tail:
    """Reads whole lines of a growing file, from its last `lines` on. Use as a context manager."""

    def __init__(self, store: Path, lines: int) -> None:
        self._store = store
        self._lines = lines
        self._fd = -1
        self._rest = b""

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def read(self) -> list[str]:
        """Complete lines that were not read yet; empty if there are none, or no file (any more)."""
        found: list[bytes] = []
        if self._fd < 0:
            self._open()
            if self._fd < 0:
                return []
            self._skip_to_tail()
        while data := os.read(self._fd, READ_BYTES):
            *whole, self._rest = (self._rest + data).split(b"\n")
            found += whole
            if len(self._rest) > LINE_MAX:
                found.append(self._rest)
                self._rest = b""
        if self._moved():
            self._close()
            self._lines = TAIL_BYTES  # of the file that takes its place, everything is new
        return [shown(line) for line in found]

    def _open(self) -> None:
        with contextlib.ExitStack() as stack:
            try:
                parent = os.open(self._store.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, parent)
                flags = os.O_NOFOLLOW | os.O_CLOEXEC
                folder = os.open(self._store.name, os.O_PATH | os.O_DIRECTORY | flags, dir_fd=parent)
                stack.callback(os.close, folder)
                fd = os.open(LOG_NAME, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=folder)
            except OSError:
                return
            if stat.S_ISREG(os.fstat(fd).st_mode):
                self._fd = fd
            else:
                os.close(fd)

    def _skip_to_tail(self) -> None:
        """Stand before the last lines that are wanted."""
        size = os.fstat(self._fd).st_size
        start = max(0, size - TAIL_BYTES)
        data = os.pread(self._fd, size - start, start)
        end = len(data)
        for _ in range(self._lines + 1):
            end = data.rfind(b"\n", 0, end)
            if end < 0:
                break
        os.lseek(self._fd, start + end + 1, os.SEEK_SET)

    def _moved(self) -> bool:
        """Whether another file has its name now, or it was cut."""
        try:
            named = (self._store / LOG_NAME).lstat()
        except OSError:
            return True
        ours = os.fstat(self._fd)
        return (named.st_ino, named.st_dev) != (ours.st_ino, ours.st_dev) or ours.st_size < os.lseek(
            self._fd, 0, os.SEEK_CUR
        )

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._rest = b""


def shown(line: bytes) -> str:
    """A line as it may be shown: text, not too long, without secrets, numbers and control characters."""
    text = clean_text(line[:LINE_MAX].decode(errors="replace"))
    return "".join(character if character.isprintable() or character == "\t" else "·" for character in text)


async def follow(session: str, store_of: StoreOf, lines: int) -> AsyncIterator[list[str]]:
    """The last lines, then new ones as they are written, over restarts and new links; ends when the session is
    removed. An empty list comes when nothing was written for a second."""
    store = await store_of(session)
    while True:
        if not store.is_dir():
            raise conflict(f"The store of session {session} is gone.", f"Link it: amda pair {session} --phone +…")
        with Tail(store, lines) as tail:
            yield tail.read()
            async for _ in watchfiles.awatch(
                store,
                watch_filter=lambda _change, path: path.endswith(LOG_NAME),
                recursive=False,
                debounce=200,
                step=50,
                rust_timeout=WATCH_MS,
                yield_on_timeout=True,
            ):
                yield tail.read()
                current = await store_of(session)
                if current != store:
                    store, lines = current, TAIL_BYTES
                    break
