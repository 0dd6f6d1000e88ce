"""What goes wrong with backups."""

from __future__ import annotations

import enum


class BackupTrouble(enum.Enum):
    """Kinds that callers tell apart."""

    FAILED = "failed"
    USAGE = "usage"
    NOT_FOUND = "not found"
    REFUSED = "refused"
    AWAY = "away"
    """A part is not there now: trying again later makes sense."""


class BackupError(Exception):
    """It cannot be done: one line, and what to do about it."""

    def __init__(self, text: str, remedy: str, kind: BackupTrouble = BackupTrouble.FAILED) -> None:
        super().__init__(text)
        self.remedy = remedy
        self.kind = kind
