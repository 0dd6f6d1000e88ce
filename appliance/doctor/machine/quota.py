"""Whether the quotas make sense: they fit on the disk, they fit each other, and what is held fits them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, problem, unseen, warning
from appliance.doctor.database_file import HiddenError, rows
from appliance.doctor.machine.store import kind_of
from appliance.media.settings import PruneMode, StorageKind

LOCAL_STORE: Final = "/var/lib/amda-minio"
"""Where install.sh has the object store of this machine keep its data."""
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class _Held(NamedTuple):
    """What the database says. `used`: bytes held, what is on its way included."""

    kind: StorageKind
    used: int
    sessions: int


def look(patient: Patient) -> list[Seen]:
    try:
        held = _held(patient)
    except HiddenError as error:
        return [unseen(f"what is held cannot be known: {error}")]
    except sqlite3.Error as error:
        return [problem(f"what is held cannot be known: {error}", "Restore a backup of amda.db, or check the disk.")]
    storage = patient.settings.storage
    seen = [*_against_each_other(patient), *_against_use(patient, held), *_against_disk(patient, held)]
    worse = [one for one in seen if one is not None]
    told = (
        f"{held.used / 1e9:.2f} of {storage.quota_bytes / 1e9:.2f} GB are used ({held.used / storage.quota_bytes:.0%})"
    )
    return [*worse, ok(told)]


def _held(patient: Patient) -> _Held:
    database = patient.settings.paths.database
    try:
        used = rows(
            database,
            "SELECT (SELECT coalesce(sum(size), 0) FROM objects)"
            " + (SELECT coalesce(sum(size), 0) FROM pending_objects)",
        )[0][0]
        sessions = rows(database, "SELECT count(*) FROM sessions")[0][0]
    except FileNotFoundError:
        return _Held(patient.settings.storage.kind, 0, 0)
    return _Held(kind_of(patient), int(used), int(sessions))


def _against_each_other(patient: Patient) -> Iterator[Seen]:
    storage = patient.settings.storage
    if storage.session_quota_bytes is not None and storage.session_quota_bytes > storage.quota_bytes:
        found = "storage.session_quota_bytes is larger than storage.quota_bytes, and so says nothing"
        yield warning(found, "Make it smaller, or unset it: amda config unset storage.session_quota_bytes")


def _against_use(patient: Patient, held: _Held) -> Iterator[Seen]:
    storage = patient.settings.storage
    if held.used > storage.quota_bytes:
        yield problem("more is held than the quota allows: it was made smaller", "amda storage prune")
    elif held.used >= storage.high_water * storage.quota_bytes and storage.prune_mode is PruneMode.MANUAL:
        found = "nothing is pruned by itself (storage.prune_mode), and media will soon be refused"
        yield warning(found, "amda storage prune --older-than 14d; or a larger quota")


def _against_disk(patient: Patient, held: _Held) -> Iterator[Seen]:
    """All that may still come, and must find room on one disk."""
    folder = _folder(patient, held.kind)
    if folder is None:
        yield info("the store is on another machine: whether the quota fits there is for its server to say")
        return
    try:
        state = os.statvfs(folder)
    except OSError:
        return
    settings = patient.settings
    free = state.f_bavail * state.f_frsize
    coming = max(0, settings.storage.quota_bytes - held.used)
    looked_at = f"quota against the disk of {folder}"
    lacking = coming + settings.capture.min_free_bytes - free
    if lacking > 0:
        found = (
            f"{coming / 1e9:.1f} GB may still be stored and {free / 1e9:.1f} GB are free: the disk will be full before"
            " the quota is reached"
        )
        fitting = max(1 << 20, settings.storage.quota_bytes - lacking)
        yield warning(found, f"amda config set storage.quota_bytes {fitting}; or a larger disk", looked_at)
        return
    remembered = held.sessions * settings.capture.keep_bytes
    if lacking + remembered > 0:
        found = (
            f"with all that {held.sessions} sessions may remember ({remembered / 1e9:.1f} GB) it could become too small"
        )
        yield info(found, "Watch it; capture.keep_bytes and storage.quota_bytes make it less.", looked_at)


def _folder(patient: Patient, kind: StorageKind) -> Path | None:
    storage = patient.settings.storage
    if kind is StorageKind.FOLDER:
        return storage.path if storage.path.exists() else patient.settings.paths.state_dir
    local = patient.at(LOCAL_STORE)
    host = urlsplit(storage.endpoint or "").hostname
    return local if host in _LOOPBACK and local.exists() else None


CHECK: Final = Check("quota", "quotas, against what is held and the disk", in_thread(look))
