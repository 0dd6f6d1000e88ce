"""Folders of sessions that no longer exist: a daemon that was killed while it removed one has left it behind.

What was captured in it is stored first. A folder in which any process still works is never touched.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from appliance.model import SESSION_ID_PATTERN
from appliance.problems import ProblemError
from appliance.sessions.locks import OperationLocks

LOCK: Final = "worker.lock"
"""In a store; a worker that runs on it holds it."""

_log = structlog.get_logger(__name__)


async def clean(
    sessions: Path, exists: Callable[[str], bool], drain: Callable[[str], Awaitable[None]], locks: OperationLocks
) -> list[str]:
    """Remove the folders of sessions that do not exist; their names. `drain` stores what lies in their spools; if it
    raises ProblemError, the folder stays for the next time."""
    cleaned = []
    for session in await asyncio.to_thread(_folders, sessions):
        if exists(session):
            continue
        try:
            with locks.hold(session, "clean up"):  # nobody makes a session of this name meanwhile
                if exists(session):
                    continue
                if await asyncio.to_thread(_in_use, sessions / session):
                    _log.warning("a process works in the folder of a session that does not exist", session=session)
                    continue
                await drain(session)
                await asyncio.to_thread(shutil.rmtree, sessions / session)
        except (ProblemError, OSError) as error:
            _log.warning("what is left of a removed session stays for now", session=session, error=str(error))
            continue
        _log.info("what was left of a removed session is gone", session=session)
        cleaned.append(session)
    return cleaned


def _folders(sessions: Path) -> list[str]:
    names = sorted(path.name for path in sessions.iterdir()) if sessions.is_dir() else []
    return [name for name in names if SESSION_ID_PATTERN.fullmatch(name)]


def _in_use(folder: Path) -> bool:
    """Whether a worker holds the lock of any store in it."""
    for lock in folder.glob(f"*/{LOCK}"):
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
    return False
