"""The fork server's log: JSON lines on standard error, without a logging library that sixty children would carry."""

from __future__ import annotations

import contextlib
import sys
import time

import msgspec


def log(event: str, **fields: object) -> None:
    """Write one line. A log that cannot be written (closed terminal, full disk) must not stop the workers."""
    line = {"at": round(time.time(), 3), "part": "forkserver", "event": event, **fields}
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
        sys.stderr.flush()
