"""Room on the disks: bytes and inodes, and whether they can be written to at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, ok, problem, unseen, warning
from appliance.media.settings import StorageKind

LOW_SHARE: Final = 0.05
"""Of the bytes: what ordinary users get of an ext4 file system before its reserve begins."""
FEW_INODES: Final = 0.1
NO_INODES: Final = 0.02
"""Of the inodes: each captured item needs two for a while, each stored one its own."""
SYSTEM_FOLDERS: Final = ("/var/lib/amda-minio", "/var/lib/amda-redis", "/var/log", "/tmp")  # noqa: S108 - looked at only
"""Whose disk the appliance needs too, where they are there."""


def look(patient: Patient) -> list[Seen]:
    floor = patient.settings.capture.min_free_bytes
    seen: list[Seen] = []
    for folders in _by_disk(_folders(patient)):
        names = ", ".join(map(str, folders))
        try:
            state = os.statvfs(next(there for there in (folders[0], *folders[0].parents) if there.exists()))
        except OSError as error:
            seen.append(unseen(f"{folders[0]}: {error.strerror}", f"disk of {names}"))
            continue
        seen += judge(state, floor, f"disk of {names}", must_write=any(_ours(folder, patient) for folder in folders))
    return seen


def judge(state: os.statvfs_result, floor: int, looked_at: str, *, must_write: bool) -> Iterator[Seen]:
    free, total = state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
    share = free / total if total else 0.0
    told = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free ({share:.0%})"
    if must_write and state.f_flag & os.ST_RDONLY:
        yield problem("it is mounted read-only", "dmesg says why; the kernel does this to a damaged disk", looked_at)
    if free < floor:
        yield problem(f"{told}: media is not fetched below {floor >> 20} MiB", _MAKE_ROOM, looked_at)
    elif share < LOW_SHARE or free < 2 * floor:
        yield warning(f"{told}; below {floor >> 20} MiB no media is fetched", _MAKE_ROOM, looked_at)
    inodes = state.f_favail / state.f_files if state.f_files else 1.0  # 0: the file system does not count them
    if inodes < FEW_INODES:
        say = problem if inodes < NO_INODES else warning
        yield say(
            f"{inodes:.0%} of its inodes are free: soon no file can be made", "Delete many small files.", looked_at
        )
    if free >= 2 * floor and share >= LOW_SHARE:
        yield ok(f"{told}, {inodes:.0%} of the inodes", looked_at)


_MAKE_ROOM: Final = (
    "amda storage prune --dry-run; journalctl --vacuum-size=200M; apt clean; a smaller storage.quota_bytes"
)


def _folders(patient: Patient) -> Iterator[Path]:
    paths, storage = patient.settings.paths, patient.settings.storage
    yield from (paths.state_dir, paths.run_dir)
    if storage.kind is StorageKind.FOLDER:
        yield storage.path
    yield from (folder for name in SYSTEM_FOLDERS if (folder := patient.at(name)).exists())


def _ours(folder: Path, patient: Patient) -> bool:
    """Whether the appliance itself writes there; a service sees everything else as read-only."""
    return folder in (patient.settings.paths.state_dir, patient.settings.storage.path)


def _by_disk(folders: Iterable[Path]) -> list[list[Path]]:
    """Those on one file system together; what is not there will lie where its parent is."""
    disks: dict[int, list[Path]] = {}
    for folder in folders:
        for there in (folder, *folder.parents):
            try:
                disks.setdefault(there.stat().st_dev, []).append(folder)
            except FileNotFoundError:
                continue
            except OSError:
                pass
            break
    return list(disks.values())


CHECK: Final = Check("disk", "disks, their free bytes and inodes", in_thread(look))
