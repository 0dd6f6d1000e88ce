"""Settings of backups: where they go, what is in them, how long they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from appliance.media.s3_settings import BucketName, S3Place, S3Settings, check_endpoint
from appliance.media.settings import StorageKind

Kept = Annotated[int, Meta(ge=0, le=1000)]


class BackupSettings(S3Settings, frozen=True, kw_only=True):
    """The section `backup`. Raises ValueError for what S3 lacks, and for a retention that keeps nothing."""

    kind: Annotated[StorageKind, Meta(description="Where backups go: folder or s3.")] = StorageKind.FOLDER
    path: Annotated[
        Path, Meta(description="Folder of the backups, best another disk's; default: backups/repository in state_dir.")
    ]
    bucket: Annotated[
        BucketName, Meta(description="Bucket of the backups, made if it is missing; nothing else may lie in it.")
    ] = "amda-backup"
    key_file: Annotated[
        Path, Meta(description="File with the key that backups are encrypted with; default: backups/key in state_dir.")
    ]
    media: Annotated[bool, Meta(description="Whether stored media is part of a backup.")] = False
    """It is by far the most, and may take as much room again; logins and index are a few megabytes a session."""
    keep_daily: Annotated[Kept, Meta(description="The last backup of so many days is kept …")] = 7
    keep_weekly: Annotated[Kept, Meta(description="… and of so many weeks …")] = 4
    keep_monthly: Annotated[Kept, Meta(description="… and of so many months.")] = 6
    verify_days: Annotated[
        float, Meta(gt=0, description="The newest backup is taken out and compared this often, after a backup.")
    ] = 7
    """A backup that cannot be restored is worth nothing, and shows it only here."""

    def __post_init__(self) -> None:
        if not (self.keep_daily or self.keep_weekly or self.keep_monthly):
            raise ValueError("no backup would be kept; remedy: set keep_daily, keep_weekly or keep_monthly")
        if self.endpoint is not None:
            check_endpoint(self.endpoint)
        if self.kind is StorageKind.S3:
            self.s3()

    def s3(self) -> tuple[S3Place, Path]:
        """The bucket's place and the file of its credentials. Raises ValueError if a setting is missing."""
        return self.place("backup", self.bucket)
