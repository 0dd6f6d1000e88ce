"""The capture store: one SQLite file beside the engine's, where everything is before anybody is told.

`synchronous=FULL`: a commit that has returned outlives a power cut, not only a kill. Two connections write to it: the
engine's callback (`Recorder`, its own thread) and the event loop (`CaptureStore`); WAL and a busy timeout keep them out
of each other's way.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from appliance.protocol import CaptureSettings, Event, EventBody
from appliance.worker.engine.events import Incoming, RawKind
from appliance.worker.rules import Fetch
from appliance.worker.schema import SCHEMA, SCHEMA_VERSION

DATABASE: Final = "capture.db"
LOCK: Final = "worker.lock"
_BUSY_TIMEOUT_MS: Final = 10_000
"""Transactions here take milliseconds; on a disk that stalls for seconds, waiting is better than failing."""
_CACHE_KIB: Final = 64
"""Page cache of a connection: sixty workers would pay SQLite's default (2 MB) sixty times over."""
_DISK_FULL_RETRY_S: Final = 1.0
"""How long the recorder waits for space before it tries again; the engine waits with it and receipts nothing."""
_PRUNE_BATCH: Final = 200
_SEEN_KEEP_S: Final = 8 * 86400.0
"""WhatsApp keeps undelivered messages for weeks, but repeats a delivered one within minutes; a week is generous."""
_HOUR_S: Final = 3600.0


class StoreLockedError(Exception):
    """Another process works on this store."""


class SupersededError(Exception):
    """The store belongs to a newer generation than ours."""


class StoreBrokenError(Exception):
    """The store cannot be opened or read."""


class StoreLock:
    """Held while a worker lives; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._fd = -1

    def acquire(self) -> None:
        """Raises StoreLockedError, OSError."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise StoreLockedError(f"another worker runs on the store {self._path.parent.name}") from None
        self._fd = fd

    def release(self) -> None:
        """Let go early, for tests and for an end in order."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class InboxEntry(msgspec.Struct, frozen=True):
    id: int
    at: float
    kind: RawKind
    hint: str
    raw: bytes


class PendingDownload(msgspec.Struct, frozen=True):
    fetch: Fetch
    attempts: int
    next_at: float


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_TIMEOUT_MS / 1000,
    )
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    return db


def is_disk_full(error: BaseException) -> bool:
    """Whether SQLite failed for want of space."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


class Recorder:
    """Writes raw events down inside the engine's callback. When `record` has returned, the event is on disk."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / DATABASE
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._stopping = threading.Event()

    def record(self, kind: RawKind, message_id: str, hint: str, raw: bytes) -> bool:
        """Insert and synchronise. On a full disk it waits for space: what is not recorded must not be receipted.

        False if the worker is stopping meanwhile and the event could not be recorded. Raises sqlite3.Error.
        """
        while True:
            try:
                if self._db is None:
                    self._db = _connect(self._path)
                self._db.execute(
                    "INSERT INTO inbox (at, kind, message_id, hint, raw) VALUES (?, ?, ?, ?, ?)",
                    (self._clock(), kind, message_id, hint, raw),
                )
            except sqlite3.Error as error:
                if not is_disk_full(error):
                    raise
                if self._stopping.wait(_DISK_FULL_RETRY_S):
                    return False
            else:
                return True

    def stop(self) -> None:
        """Give up waiting for space."""
        self._stopping.set()


class CaptureStore:
    """Everything else in the store; used by one thread. Every method that writes raises sqlite3.Error on failure."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / DATABASE
        self._clock = clock
        self._opened: sqlite3.Connection | None = None
        self._depth = 0

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            raise StoreBrokenError("the capture store is not open")
        return self._opened

    def open(self, generation: int) -> None:
        """Create or open, and claim for `generation`. Raises SupersededError, StoreBrokenError."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(fd)
            self._opened = _connect(self._path)
            self._opened.executescript(SCHEMA)
            version = int(self._meta("schema") or SCHEMA_VERSION)
            if version > SCHEMA_VERSION:
                raise StoreBrokenError(f"the capture store has format {version}, this release knows {SCHEMA_VERSION}")
            self._set_meta("schema", str(SCHEMA_VERSION))
            if self.generation() > generation:
                raise SupersededError(f"the store is of generation {self.generation()}, this worker of {generation}")
            self.claim(generation)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise StoreBrokenError(f"the capture store cannot be opened: {error}") from error

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside are done together or not at all; may be nested."""
        if self._depth == 0:
            self._db.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0 and self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._depth -= 1
        if self._depth == 0:
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    # ---- generation ----

    def generation(self) -> int:
        """The newest generation that has claimed the store; 0 for none."""
        return int(self._meta("generation") or 0)

    def claim(self, generation: int) -> None:
        self._set_meta("generation", str(generation))

    def _meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        if self._meta(key) != value:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # ---- inbox ----

    def next_recorded(self) -> InboxEntry | None:
        """The oldest event that has not been judged."""
        row = self._db.execute("SELECT id, at, kind, hint, raw FROM inbox ORDER BY id LIMIT 1").fetchone()
        return None if row is None else InboxEntry(row[0], row[1], RawKind(row[2]), row[3], row[4])

    def forget_recorded(self, entry_id: int) -> None:
        self._db.execute("DELETE FROM inbox WHERE id = ?", (entry_id,))

    def inbox_length(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM inbox").fetchone()[0])

    def recent_ids(self, limit: int) -> list[str]:
        """Ids of the messages recorded last, oldest first."""
        judged = self._db.execute("SELECT message_id FROM seen ORDER BY at DESC LIMIT ?", (limit,)).fetchall()
        waiting = self._db.execute("SELECT message_id FROM inbox WHERE kind = ? ORDER BY id", (RawKind.MESSAGE,))
        return [row[0] for row in (*reversed(judged), *waiting)]

    # ---- what has been judged, and what may be deleted later ----

    def has_seen(self, key: bytes) -> bool:
        """Whether a message has been judged."""
        return self._db.execute("SELECT 1 FROM seen WHERE key = ?", (key,)).fetchone() is not None

    def is_new(self, key: bytes, message_id: str) -> bool:
        """Note a message as judged; False if it was already."""
        cursor = self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (key, message_id, self._clock()))
        return cursor.rowcount == 1

    def remember(self, message: Incoming) -> None:
        body = msgspec.msgpack.encode(message)
        self._db.execute(
            "INSERT INTO messages (message_id, at, size, body) VALUES (?, ?, ?, ?)",
            (message.edits or message.id, self._clock(), len(body), body),
        )

    def recall(self, message_id: str) -> list[Incoming]:
        """Remembered messages with this id, oldest first."""
        rows = self._db.execute("SELECT body FROM messages WHERE message_id = ? ORDER BY id", (message_id,))
        return [msgspec.msgpack.decode(row[0], type=Incoming) for row in rows]

    def prune(self, settings: CaptureSettings) -> int:
        """Forget messages that are older or more than the settings allow; how many."""
        now = self._clock()
        pruned = 0
        with self.transaction():
            pruned += self._db.execute(
                "DELETE FROM messages WHERE at < ?", (now - settings.keep_hours * _HOUR_S,)
            ).rowcount
            kept = max(_SEEN_KEEP_S, settings.keep_hours * _HOUR_S)
            self._db.execute("DELETE FROM seen WHERE at < ?", (now - kept,))
            while self.remembered_bytes() > settings.keep_bytes:
                pruned += self._db.execute(
                    "DELETE FROM messages WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT ?)", (_PRUNE_BATCH,)
                ).rowcount
        return pruned

    def remembered_bytes(self) -> int:
        return int(self._db.execute("SELECT coalesce(sum(size), 0) FROM messages").fetchone()[0])

    # ---- downloads ----

    def add_download(self, fetch: Fetch, priority: int) -> None:
        """Queue; an item that is queued already keeps its place."""
        self._db.execute(
            "INSERT OR IGNORE INTO downloads VALUES (?, ?, 0, 0, ?)",
            (fetch.item.item, priority, msgspec.msgpack.encode(fetch)),
        )

    def due_downloads(self, now: float, limit: int) -> list[PendingDownload]:
        """The most urgent ones that may be tried now."""
        rows = self._db.execute(
            "SELECT body, attempts, next_at FROM downloads WHERE next_at <= ? ORDER BY priority, next_at, item LIMIT ?",
            (now, limit),
        )
        return [PendingDownload(msgspec.msgpack.decode(row[0], type=Fetch), row[1], row[2]) for row in rows]

    def hasten_downloads(self, now: float, least_s: float, first_s: float, longest_s: float) -> None:
        """Due at once is what would wait longer than any pause after its number of attempts: the clock was set back."""
        self._db.execute(
            "UPDATE downloads SET next_at = ?1"
            " WHERE next_at > ?1 + max(?2, min(?4, ?3 * (1 << min(max(attempts - 1, 0), 30))))",
            (now, least_s, first_s, longest_s),
        )

    def next_download_at(self) -> float | None:
        """When the first queued download may be tried; None if nothing is queued."""
        row = self._db.execute("SELECT min(next_at) FROM downloads").fetchone()
        return None if row[0] is None else float(row[0])

    def postpone_download(self, item: str, attempts: int, next_at: float) -> None:
        self._db.execute("UPDATE downloads SET attempts = ?, next_at = ? WHERE item = ?", (attempts, next_at, item))

    def forget_download(self, item: str) -> None:
        self._db.execute("DELETE FROM downloads WHERE item = ?", (item,))

    # ---- outbox ----

    def append_event(self, body: EventBody) -> Event:
        """Store an event for the daemon; its number only grows, also over restarts."""
        at = self._clock()
        cursor = self._db.execute("INSERT INTO outbox (at, body) VALUES (?, ?)", (at, msgspec.json.encode(body)))
        return Event(seq=cursor.lastrowid or 0, at=at, body=body)

    def events_after(self, seq: int, limit: int) -> list[Event]:
        """Events that wait for their acknowledgement, in order, from `seq` on exclusively."""
        rows = self._db.execute("SELECT seq, at, body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [Event(seq=row[0], at=row[1], body=msgspec.json.decode(row[2], type=EventBody)) for row in rows]

    def acknowledge(self, seq: int) -> None:
        """Everything up to and including `seq` is safe with the daemon."""
        self._db.execute("DELETE FROM outbox WHERE seq <= ?", (seq,))

    def oldest_event(self) -> int:
        """Number of the oldest event in the outbox, or the number that the next one will get."""
        row = self._db.execute("SELECT min(seq) FROM outbox").fetchone()
        return self.next_event() if row[0] is None else int(row[0])

    def next_event(self) -> int:
        """The number that the next event will get."""
        last = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return (0 if last is None else int(last[0])) + 1
