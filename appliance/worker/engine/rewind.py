"""Takes back a decryption that a killed process could not record.

Decrypting a message uses its key up: the engine commits that to `device.db`, then tells us, then we write the message
down. A process that is killed in between (a millisecond or two) loses the message for good: WhatsApp sends it again,
because it was not receipted, but the engine cannot read it a second time.

So before each decryption a mark says how far the database's write-ahead log reached; it is taken away when the message
is recorded. A process that finds the mark cuts the log back to it before the engine opens the database: SQLite then
sees the state before the decryption, the message comes again and can be read. What else was committed within that
moment is taken back too, and is of the kind that heals (a session that the engine negotiates again).

The mark is not synchronised: it is for killed processes, whose writes the kernel keeps. After a power cut (another boot
id) it is ignored; the log's unsynchronised end, and with it the decryption, is gone then anyway.

File formats: sqlite.org/fileformat2.html (write-ahead log) and sqlite.org/walformat.html (wal-index).
"""

from __future__ import annotations

import enum
import os
import struct
import time
import uuid
from pathlib import Path
from typing import Final, NamedTuple

MARK: Final = "decrypting.mark"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MARK: Final = struct.Struct("<?16sdIII")
"""armed, boot id, time since boot, and the fields of LogPosition"""
STALE_S: Final = 10.0
"""The log was written to so much later than the mark was made: the mark was forgotten, not cut off by a kill."""
_INDEX_HEADER: Final = struct.Struct("=12xBBHI12x8s8x")
"""wal-index header: initialised, checksum order, page size, frames (native byte order), salt (as in the log)"""
_ATTEMPTED: Final = struct.Struct("=32xI")
"""After two copies of the header: frames whose copying into the database was at least begun"""
_WAL_HEADER: Final = struct.Struct(">8xI4xII8x")
"""page size, first salt, second salt; always big-endian"""
_FRAME_HEADER_BYTES: Final = 24
_INDEX_BYTES: Final = 2 * _INDEX_HEADER.size + _ATTEMPTED.size
_READ_TRIES: Final = 5
"""The two copies of the header differ for some nanoseconds while a commit is published."""


class Rewound(enum.Enum):
    """What `rewind` found to do."""

    NOTHING = "nothing"
    """No decryption was under way."""
    DONE = "done"
    IMPOSSIBLE = "impossible"
    """The log was folded into the database meanwhile: at most one message may be lost."""


class LogPosition(NamedTuple):
    """How far the write-ahead log reaches."""

    frames: int
    salt: int
    """Grows by one each time the log starts over."""
    attempted: int
    """Frames that a checkpoint has copied, or has begun to copy, into the database."""


def read_position(index: bytes) -> LogPosition | None:
    """The position in a wal-index; None if it is being changed at this moment, or is not one."""
    size = _INDEX_HEADER.size
    if len(index) < _INDEX_BYTES or index[:size] != index[size : 2 * size]:
        return None
    initialised, _, _, frames, salt = _INDEX_HEADER.unpack_from(index)
    if not initialised:
        return None
    return LogPosition(frames, int.from_bytes(salt[:4], "big"), _attempted(index))


def _attempted(index: bytes) -> int:
    (attempted,) = _ATTEMPTED.unpack_from(index, 2 * _INDEX_HEADER.size)
    return int(attempted)


class DecryptionMark:
    """For one database. `rewind` and `open` come before the engine opens it; `arm` and `disarm` are called in the
    engine's threads, one at a time, and cost a system call or two.

    The wal-index is opened before the engine opens it and never closed: closing any descriptor of a file gives up the
    process's locks on it, the engine's among them (fcntl(2), advisory record locking).
    """

    def __init__(self, database: Path) -> None:
        self._log = database.with_name(f"{database.name}-wal")
        self._index = database.with_name(f"{database.name}-shm")
        self._path = database.with_name(MARK)
        self._boot_id = b""
        self._fd = -1
        self._index_fd = -1

    def open(self) -> None:
        """Get ready for `arm`. Raises OSError."""
        self._boot_id = uuid.UUID(_BOOT_ID.read_text("ascii").strip()).bytes
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._open_index()

    def arm(self) -> None:
        """A decryption is about to begin: what is committed from now on may have to be taken back."""
        position = self._position()
        if position is not None:
            mark = (True, self._boot_id, _since_boot(), *position)
            os.pwrite(self._fd, _MARK.pack(*mark), 0)

    def disarm(self) -> None:
        """Everything that was decrypted is recorded."""
        os.pwrite(self._fd, b"\0", 0)

    def rewind(self) -> Rewound:
        """Take back what a killed process decrypted and did not record. Raises OSError.

        Nobody else may have the database open.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return Rewound.NOTHING
        if len(data) != _MARK.size:
            return Rewound.NOTHING
        armed, boot_id, at, frames, salt, attempted = _MARK.unpack(data)
        boot = uuid.UUID(_BOOT_ID.read_text("ascii").strip()).bytes
        if not armed or boot_id != boot or not self._log.exists():
            return Rewound.NOTHING
        changed_at = self._log.stat().st_mtime - (time.time() - _since_boot())
        if changed_at > at + STALE_S:
            return Rewound.NOTHING
        result = self._cut(LogPosition(frames, salt, attempted))
        self._path.unlink()
        return result

    def _cut(self, mark: LogPosition) -> Rewound:
        try:
            with self._log.open("rb") as log:
                header = log.read(_WAL_HEADER.size)
            attempted = _attempted(self._index.read_bytes()[:_INDEX_BYTES])
            page_size, salt, _ = _WAL_HEADER.unpack(header)
        except (FileNotFoundError, struct.error):
            return Rewound.IMPOSSIBLE
        size = self._size_to_keep(mark, salt, attempted, 65536 if page_size == 1 else page_size)
        if size is None:
            return Rewound.IMPOSSIBLE
        if size < self._log.stat().st_size:
            os.truncate(self._log, size)
        self._index.unlink()  # SQLite builds it anew from the log
        return Rewound.DONE

    def _size_to_keep(self, mark: LogPosition, salt: int, attempted: int, page_size: int) -> int | None:
        if salt == mark.salt and attempted <= mark.frames:
            return _WAL_HEADER.size + mark.frames * (_FRAME_HEADER_BYTES + page_size)
        # Started over: all that the log held at the mark was in the database already, so all of the new log goes.
        if salt == (mark.salt + 1) & 0xFFFFFFFF and mark.attempted == mark.frames and attempted == 0:
            return 0
        return None

    def _position(self) -> LogPosition | None:
        if self._index_fd < 0 or os.fstat(self._index_fd).st_nlink == 0:
            self._open_index()
        for _ in range(_READ_TRIES):
            position = read_position(os.pread(self._index_fd, _INDEX_BYTES, 0))
            if position is not None:
                return position
        return None

    def _open_index(self) -> None:
        self._index_fd = os.open(self._index, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
