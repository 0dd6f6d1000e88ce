"""What is remembered of backups between two of them: a small file beside the state, not in the database that is saved.

The doctor, the API and the next run read it; it holds no secret.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from appliance.backup.errors import BackupError
from appliance.model_backup import BackupRecord

NAME: Final = "record.json"


def read_record(folder: Path) -> BackupRecord:
    """Of the backups' folder in the state folder (`paths.backups`). One that is not there, or broken, is empty."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=BackupRecord)
    except (OSError, msgspec.DecodeError):
        return BackupRecord()


def change_record(folder: Path, **changes: object) -> BackupRecord:
    """Replace fields of the record, in one step; returns it. Raises BackupError."""
    record = msgspec.structs.replace(read_record(folder), **changes)
    try:
        make_owned(folder)
        write_private(folder / NAME, msgspec.json.encode(record))
    except OSError as error:
        raise BackupError(
            f"{folder / NAME} cannot be written: {error.strerror}", "Make room, or mend its owner."
        ) from (error)
    return record


@contextmanager
def errors_recorded(folder: Path) -> Iterator[None]:
    """Note why the block failed, or that it did not."""
    try:
        yield
    except BackupError as error:
        change_record(folder, error=f"{error}; {error.remedy}", error_at=time.time())
        raise
    change_record(folder, error="", error_at=None)


def make_owned(folder: Path) -> None:
    """Make a folder that nobody else can look into, and that belongs to whom the folder around it belongs to."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True)
        give_like(folder, folder.parent)


def write_private(path: Path, content: bytes, owner: Path | None = None) -> None:
    """Replace a file in one step, durably, with mode 0600; it belongs to whom `owner` belongs to, otherwise to whom its
    folder does. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        give_like(part, owner or path.parent)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def give_like(path: Path, like: Path) -> None:
    """What root makes belongs to whom another path belongs to; others can give nothing away. Raises OSError."""
    if os.geteuid() == 0:
        status = like.stat()
        os.chown(path, status.st_uid, status.st_gid)
