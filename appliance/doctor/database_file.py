"""Reads the daemon's database beside the daemon: with a connection of its own that can write nothing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

BUSY_S: Final = 5.0
"""Somebody who checkpoints holds it for moments."""


class HiddenError(Exception):
    """It belongs to somebody else: what it says cannot be known from here."""


def rows(path: Path, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
    """What a query finds. Raises HiddenError, FileNotFoundError, sqlite3.Error."""
    with opened(path) as connection:
        return connection.execute(sql, parameters).fetchall()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. Raises HiddenError, FileNotFoundError, sqlite3.Error."""
    must_be_visible(path)
    if not path.exists():
        raise FileNotFoundError(2, "there is no such database", str(path))
    uri = f"file:{quote(str(path))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only=ON")
        yield connection


def must_be_visible(path: Path) -> None:
    """Raises HiddenError if this user may not read the file, or not even see whether it is there."""
    try:
        path.stat()
    except PermissionError:
        raise HiddenError(f"{path.parent} belongs to the appliance alone") from None
    except (FileNotFoundError, NotADirectoryError):
        return
    if not os.access(path, os.R_OK):
        raise HiddenError(f"{path} belongs to the appliance alone")
