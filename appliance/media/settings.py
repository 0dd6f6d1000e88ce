"""Settings of the media store: where it lies, how much it may hold, and what goes when there is too much."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from appliance.media.s3_settings import BucketName, S3Place, S3Settings, check_endpoint
from appliance.model import Category

DAY_S: Final = 86_400.0

Days = Annotated[float, Meta(gt=0)]
Bytes = Annotated[int, Meta(ge=1 << 20)]


class StorageKind(enum.StrEnum):
    FOLDER = "folder"
    S3 = "s3"


class PruneMode(enum.StrEnum):
    AUTO = "auto"
    MANUAL = "manual"
    """Nothing is deleted unless somebody asks for it; at the quota, media is refused."""


class StorageSettings(S3Settings, frozen=True, kw_only=True):
    """The section `storage`. Raises ValueError for marks that contradict each other."""

    kind: Annotated[
        StorageKind, Meta(description="Where media is stored: folder or s3. Later: amda storage move --to folder|s3.")
    ] = StorageKind.FOLDER
    path: Annotated[Path, Meta(description="Folder of the media store; default: media/ in state_dir.")]
    bucket: Annotated[
        BucketName, Meta(description="Bucket of the media, made if it is missing; nothing else may lie in it.")
    ] = "amda-media"
    quota_bytes: Annotated[Bytes, Meta(description="Bytes that stored media may take, never exceeded.")] = 10 << 30
    """A quarter of the 40 GB that the smallest rented servers have."""
    session_quota_bytes: Annotated[
        Bytes | None, Meta(description="The same for each session alone; empty: only the appliance's quota counts.")
    ] = None
    high_water: Annotated[
        float, Meta(gt=0, le=1, description="Part of a quota from which on the oldest media makes room …")
    ] = 0.95
    low_water: Annotated[float, Meta(gt=0, le=1, description="… until this part of it is left.")] = 0.85
    """A tenth of the quota at once: pruning is rare, and what is newer stays."""
    prune_mode: Annotated[
        PruneMode, Meta(description="auto, or manual: nothing is deleted by itself, at the quota media is refused.")
    ] = PruneMode.AUTO
    prune_interval_s: Annotated[float, Meta(ge=1, description="How often age and quota are looked at.")] = 3600
    keep_days_statuses: Annotated[Days, Meta(description="Statuses are kept this many days.")] = 30
    keep_days_deleted: Annotated[Days, Meta(description="Deleted messages are kept this many days.")] = 30
    keep_days_view_once: Annotated[Days, Meta(description="View-once media is kept this many days.")] = 30
    spool_bytes: Annotated[
        Bytes, Meta(description="Bytes that may wait while nothing can be stored; what comes on top is refused.")
    ] = 1 << 30

    def __post_init__(self) -> None:
        if self.low_water > self.high_water:
            raise ValueError("low_water is above high_water; remedy: make it smaller")
        if self.endpoint is not None:
            check_endpoint(self.endpoint)
        if self.kind is StorageKind.S3:
            self.s3()

    def s3(self) -> tuple[S3Place, Path]:
        """The bucket's place and the file of its credentials. Raises ValueError if a setting is missing."""
        return self.place("storage", self.bucket)

    @property
    def keep_s(self) -> Mapping[Category, float]:
        """How long each category is kept, in seconds."""
        return {
            Category.STATUS: self.keep_days_statuses * DAY_S,
            Category.DELETED: self.keep_days_deleted * DAY_S,
            Category.VIEW_ONCE: self.keep_days_view_once * DAY_S,
        }
