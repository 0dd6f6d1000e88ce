"""Sockets that nobody listens on any more: what was killed has left them behind."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Repair, Seen, in_thread, info, ok, unseen
from appliance.doctor.database_file import HiddenError, must_be_visible
from appliance.doctor.held import unlink
from appliance.sockets import PeerError, connect_unix

CONTROL: Final = "control.sock"
LOCK: Final = "worker.lock"
"""In a store. A worker holds its lock as long as it runs; its socket must not be tried, for it would take whoever does
for its daemon."""
_HELD: Final = re.compile(r"^\d+: FLOCK\s+\S+\s+\S+ \d+ ([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)
"""A line of /proc/locks, proc_locks(5): major, minor, inode."""


def look(patient: Patient) -> list[Seen]:
    paths = patient.settings.paths
    try:
        must_be_visible(paths.run_dir / "any")
        must_be_visible(paths.sessions / "any")
    except HiddenError as error:
        return [unseen(str(error))]
    if not paths.run_dir.is_dir():
        return [info("nothing has ever run here", "", str(paths.run_dir))]
    try:
        run_dir, sessions = paths.run_dir.resolve(), paths.sessions.resolve()
        stale = [*_ours(run_dir), *_controls(sessions, patient)]
    except PermissionError as error:
        return [unseen(f"{error.filename} may not be looked into by this user")]
    if not stale:
        return [ok("every socket has somebody who listens", str(paths.run_dir))]

    def remove() -> None:
        again = {*_ours(run_dir), *_controls(sessions, patient)}
        for path in stale:
            if path in again:  # nobody has taken its place meanwhile
                unlink(path)

    what = "rm " + " ".join(map(str, stale[:3])) + (" …" if len(stale) > 3 else "")
    found = f"{len(stale)} sockets without anybody who listens, as {stale[0]}"
    return [Seen(info("").severity, found, "Nothing: they are replaced by the next start", repair=Repair(what, remove))]


def _ours(folder: Path) -> Iterator[Path]:
    """In the folder of sockets. Raises PermissionError."""
    for path in sorted(folder.iterdir()):
        if stat.S_ISSOCK(path.lstat().st_mode):
            try:
                connect_unix(path).close()
            except PeerError as error:
                if isinstance(error.__cause__, ConnectionRefusedError):
                    yield path


def _controls(sessions: Path, patient: Patient) -> Iterator[Path]:
    """Of workers that have ended, by the locks that the kernel knows."""
    held = {
        (int(major, 16), int(minor, 16), int(inode))
        for major, minor, inode in _HELD.findall(patient.text("/proc/locks"))
    }
    for path in sorted(sessions.glob(f"*/*/{CONTROL}")):
        with contextlib.suppress(FileNotFoundError):
            lock = (path.parent / LOCK).stat()
            if (os.major(lock.st_dev), os.minor(lock.st_dev), lock.st_ino) not in held:
                yield path


CHECK: Final = Check("sockets", "sockets left behind", in_thread(look))
