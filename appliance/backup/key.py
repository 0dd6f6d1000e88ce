"""The key that backups are encrypted with: made once, kept in one file, shown so that somebody keeps it elsewhere.

Without it no backup can be read, by nobody; a copy that only lies on the machine is lost with the machine.
"""

from __future__ import annotations

import secrets
import stat
import time
from pathlib import Path
from typing import Final

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.record import change_record, make_owned, read_record, write_private

KEY_BYTES: Final = 30
"""240 random bits, 40 letters that can be copied by hand."""
SHORTEST: Final = 8
"""A key that somebody chose is theirs to choose; one of a few letters is a slip."""


def make_key(file: Path, backups: Path) -> bool:
    """Make the key if there is none; whether it was made now. Raises BackupError."""
    if file.exists():
        return False
    try:
        make_owned(backups)
        make_owned(file.parent)
        write_private(file, f"{secrets.token_urlsafe(KEY_BYTES)}\n".encode(), backups)
    except OSError as error:
        raise BackupError(
            f"the key cannot be written to {file}: {error.strerror}",
            "On a server as root: amda backup key; or name another file in backup.key_file.",
        ) from error
    change_record(backups, key_made_at=time.time(), key_shown_at=None, key_confirmed_at=None)
    return True


def read_key(file: Path) -> str:
    """The key. Raises BackupError if there is none, or others may read it; never with its content."""
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise BackupError(f"{file}: other users may read the key of the backups", f"chmod 600 {file}")
        key = file.read_text("utf-8").strip()
    except FileNotFoundError:
        raise BackupError(
            f"there is no key of the backups ({file})", "Make one: amda backup key", BackupTrouble.NOT_FOUND
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BackupError(
            f"{file}: the key of the backups cannot be read", "Run it as root, or as the appliance's user."
        ) from error
    if len(key) < SHORTEST or "\n" in key:
        raise BackupError(f"{file}: this is no key of backups", "Put the key back that was kept: one line.")
    return key


def show_key(file: Path, backups: Path, *, again: bool) -> str:
    """The key, to be kept elsewhere; once that was confirmed, only for who asks `again`. Raises BackupError."""
    key = read_key(file)
    if read_record(backups).key_confirmed_at is not None and not again:
        raise BackupError(
            "the key was shown, and somebody confirmed that it is kept off this machine",
            "To see it once more: amda backup key --again",
            BackupTrouble.REFUSED,
        )
    change_record(backups, key_shown_at=time.time())
    return key


def confirm_key(file: Path, backups: Path) -> None:
    """Somebody says that the key is kept elsewhere. Raises BackupError if it was never shown to anybody."""
    read_key(file)
    if read_record(backups).key_shown_at is None:
        raise BackupError(
            "the key was not shown yet, so nobody can have kept it", "First: amda backup key", BackupTrouble.REFUSED
        )
    change_record(backups, key_confirmed_at=time.time())


def replace_key(file: Path, backups: Path, key: str) -> None:
    """The key of a repository that this machine goes on with; the one before is kept beside it. Raises OSError."""
    if file.exists() and file.read_text("utf-8").strip() == key:
        return
    make_owned(backups)
    make_owned(file.parent)
    if file.exists():
        file.replace(file.with_name(f"{file.name}.before-restore"))
    write_private(file, f"{key}\n".encode(), backups)
    now = time.time()
    # Who restores has the key from where it is kept.
    change_record(backups, key_made_at=now, key_shown_at=now, key_confirmed_at=now)
