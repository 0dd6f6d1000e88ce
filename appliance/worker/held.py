"""Media of ordinary messages, fetched on arrival and kept for the case that its message is deleted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.protocol import CaptureSettings

SUFFIX: Final = ".held"
HASH_BYTES: Final = 32
_HOUR_S: Final = 3600.0


class Held:
    """Files in the spool's folder (in another one the first sandboxes of Linux could not link them), named by the hash
    that their message announced. Every method may raise OSError."""

    def __init__(self, spool: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = spool
        self._clock = clock

    def put(self, part: Path, sha256: bytes) -> None:
        """Keep a completely downloaded file."""
        part.replace(self._path(sha256))

    def take(self, sha256: bytes, part: Path) -> bool:
        """Make a held file available as `part`; False: it is not held. It stays, others may have sent the same."""
        if len(sha256) != HASH_BYTES:  # without a hash any two would be the same
            return False
        try:
            os.link(self._path(sha256), part)
        except FileNotFoundError:
            return False
        return True

    def prune(self, settings: CaptureSettings, remembered_bytes: int) -> int:
        """Forget what is older, or more together with the remembered messages, than the settings allow; how many."""
        found: list[tuple[float, int, str]] = []
        for name in os.listdir(self._folder):  # noqa: PTH208 - pathlib's machinery would be copied into every worker
            if name.endswith(SUFFIX):
                with contextlib.suppress(FileNotFoundError):  # another thread forgets it just now
                    status = (self._folder / name).lstat()
                    found.append((status.st_mtime, status.st_size, name))
        found.sort()
        room = settings.keep_bytes - remembered_bytes
        total, oldest, gone = sum(size for _, size, _ in found), self._clock() - settings.keep_hours * _HOUR_S, 0
        for modified_at, size, name in found:
            if modified_at >= oldest and total <= room:
                break
            (self._folder / name).unlink(missing_ok=True)
            total -= size
            gone += 1
        return gone

    def _path(self, sha256: bytes) -> Path:
        return self._folder / f"{sha256.hex()}{SUFFIX}"
