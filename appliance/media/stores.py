"""Which store goes with which settings: for the media room, and for whoever looks whether its store is well."""

from __future__ import annotations

from appliance.media.folder import FolderStore
from appliance.media.s3_settings import read_credentials
from appliance.media.settings import StorageKind, StorageSettings
from appliance.media.store import ObjectStore


def open_store(settings: StorageSettings, kind: StorageKind) -> ObjectStore:
    """The store of that kind; nothing is contacted yet. Raises ValueError if the settings lack what it needs."""
    if kind is StorageKind.FOLDER:
        return FolderStore(settings.path)
    from appliance.media.s3 import S3Store  # the client library costs megabytes that a folder's user need not pay

    place, credentials = settings.s3()
    return S3Store(place, lambda: read_credentials(credentials))
