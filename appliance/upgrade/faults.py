"""What can be wrong with an upgrade: a number for each, which documentation and scripts go by, and its remedy."""

from __future__ import annotations

import enum


class Fault(enum.IntEnum):
    """Numbers go on where those of install.sh end; docs/upgrade.md lists them."""

    NOT_A_SERVER = 40
    NEEDS_ROOT = 41
    BUSY = 42
    UNFINISHED = 43
    NO_SUCH_RELEASE = 44
    NOT_POSSIBLE = 45
    NO_SOURCE = 46
    NOT_VERIFIED = 47
    NOT_STAGED = 48
    NO_BACKUP = 49
    DAEMON_UNWELL = 50
    FORK_SERVER = 51
    CANARY_FAILED = 52
    SESSION_FAILED = 53
    NOT_REHEARSED = 54
    NOTHING_TO_UNDO = 55
    SCHEMA_STAYS = 56
    NOT_CONFIRMED = 57
    NOT_RUNNING = 58
    NO_JOURNAL = 59


class UpgradeError(Exception):
    """One line; `remedy` is what to do."""

    def __init__(self, fault: Fault, text: str, remedy: str) -> None:
        super().__init__(text)
        self.fault = fault
        self.remedy = remedy
