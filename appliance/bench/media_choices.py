"""What can be chosen for the rehearsal of media; alone, because every command of `amda` loads it."""

from __future__ import annotations

import enum


class MediaStore(enum.StrEnum):
    FOLDER = "folder"
    S3 = "s3"


class Disturbance(enum.StrEnum):
    NONE = "none"
    S3_STOP = "s3-stop"
    DAEMON_KILLS = "daemon-kills"
    DISK_FULL = "disk-full"
