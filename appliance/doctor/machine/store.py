"""Whether media can be stored: something is written that takes no room of any quota, and nothing stays of it."""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import sqlite3
import tempfile
import time
import uuid
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, apart, info, ok, problem, unseen
from appliance.doctor.database_file import HiddenError, rows
from appliance.media.settings import StorageKind
from appliance.media.store import ObjectStore, StoreError
from appliance.media.stores import open_store
from appliance.model import Category

PROBE_SESSION: Final = "amda-doctor"
"""In place of a session's id. What a doctor leaves behind who is killed here is found and deleted like any object that
nothing refers to."""
_NOTHING: Final = hashlib.sha256(b"").hexdigest()


async def look(patient: Patient) -> list[Seen]:
    storage = patient.settings.storage
    try:
        kind = await apart(lambda: kind_of(patient))
        hidden = await apart(lambda: hidden_from_us(patient, kind))
        store = open_store(storage, kind)
    except HiddenError as error:
        return [unseen(f"where media lies cannot be known: {error}")]
    except (ValueError, sqlite3.Error) as error:
        return [problem(f"media cannot be stored: {error}", "Set what is named, or restore a backup of amda.db.")]
    try:
        if hidden is not None:
            return [unseen(f"{hidden} belongs to the appliance alone", store.name)]
        if kind is StorageKind.FOLDER:
            return [await apart(lambda: _write(storage.path, store.name))]
        return [await _put(store)]
    finally:
        await store.close()


def _write(folder: Path, looked_at: str) -> Seen:
    """A file without a name, which is gone with this process: whoever looks may be another user than who stores."""
    began = time.monotonic()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"amda")
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return info("it is not there yet: nothing was ever stored", "", looked_at)
    except OSError as error:
        return problem(
            f"nothing can be stored: {error.strerror}", f"Check free space, owner and mode. {_WAITS}", looked_at
        )
    return ok(f"a file was written and synced in {(time.monotonic() - began) * 1000:.0f} ms", looked_at)


async def _put(store: ObjectStore) -> Seen:
    """An empty object under a key of ours; nothing else is allowed to lie in a bucket."""
    looked_at = store.name
    key = f"{Category.STATUS}/{PROBE_SESSION}/{_today()}/{uuid.uuid4().hex}.bin"
    began = time.monotonic()
    try:
        await store.put(key, io.BytesIO(b""), size=0, sha256=_NOTHING)
        try:
            seen = await store.stat(key)
        finally:
            await store.delete([key])
    except StoreError as error:
        return problem(f"nothing can be stored: {error}", _WAITS, looked_at)
    if seen is None:
        return problem("what was written could not be found again", "Compare: amda storage check", looked_at)
    return ok(f"an object was written, seen and deleted in {(time.monotonic() - began) * 1000:.0f} ms", looked_at)


_WAITS: Final = "Until then media waits in the spools; nothing is lost. See also: amda status"


def kind_of(patient: Patient) -> StorageKind:
    """Where media lies until it is moved, whatever the settings say. Raises HiddenError, sqlite3.Error."""
    database = patient.settings.paths.database
    try:
        found = rows(database, "SELECT value FROM meta WHERE key = 'storage.kind'")
    except FileNotFoundError:  # never started yet
        found = []
    return StorageKind(found[0]["value"]) if found else patient.settings.storage.kind


def hidden_from_us(patient: Patient, kind: StorageKind) -> Path | None:
    """What this user may not use although the appliance may; None: nothing."""
    storage = patient.settings.storage
    if kind is StorageKind.S3:
        needed, mode = storage.credentials, os.R_OK
    else:
        needed, mode = storage.path, os.R_OK | os.W_OK | os.X_OK
    if needed is None:
        return None
    try:
        owner = needed.stat().st_uid
    except PermissionError:
        return needed
    except OSError:
        return None
    return needed if owner != os.geteuid() and not os.access(needed, mode) else None


def opened_store(patient: Patient) -> ObjectStore:
    """Raises HiddenError, sqlite3.Error, ValueError."""
    kind = kind_of(patient)
    if (hidden := hidden_from_us(patient, kind)) is not None:
        raise HiddenError(f"{hidden} belongs to the appliance alone")
    return open_store(patient.settings.storage, kind)


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


CHECK: Final = Check("store", "media store", look, bound_s=30.0)
