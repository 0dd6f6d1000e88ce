"""The durable file that an upgrade goes on from, and the lock that keeps a second one away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from appliance.settings_edit import replace_file
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.plan import Journal, Kind

DOWNLOADS: Final = "downloads"
"""Folder beside it, for what an upgrade fetches; gone when the upgrade is done."""
_LOCK: Final = "lock"


class JournalFile:
    """One for each kind of upgrade, in a folder that only root can look into."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.folder = folder
        self.file = folder / f"{kind}.json"

    def read(self) -> Journal | None:
        """The upgrade that is under way, or the last one. Raises UpgradeError."""
        file = self.file
        try:
            return msgspec.json.decode(file.read_bytes(), type=Journal)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise UpgradeError(Fault.NEEDS_ROOT, f"{file} cannot be read: {error.strerror}", "sudo amda …") from error
        except (OSError, msgspec.DecodeError) as error:
            raise UpgradeError(
                Fault.NO_JOURNAL,
                f"{file} cannot be read: {error}",
                "look at the disk; amda status and amda version tell what runs. Without the file the last upgrade can "
                "neither be continued nor taken back",
            ) from error

    def write(self, journal: Journal) -> None:
        """In one step, and on the disk when it returns. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = msgspec.structs.replace(journal, updated_at=time.time())
        replace_file(self.file, msgspec.json.format(msgspec.json.encode(now), indent=1).decode() + "\n")

    @contextlib.contextmanager
    def only_one(self) -> Iterator[None]:
        """Hold the lock for the length of a block; it goes with the process. Raises UpgradeError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(self.folder / _LOCK, flags, 0o600), "r+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read().strip() or "unknown"
                raise UpgradeError(
                    Fault.BUSY, f"another upgrade (process {holder}) is under way", "follow it: amda upgrade --status"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
