"""What the doctor finds (GET /v1/doctor): a sentence for each thing that was looked at, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

CheckName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$", description="A check, by its name.")]


class Severity(enum.StrEnum):
    """How bad it is; each is worse than the ones before it."""

    OK = "ok"
    INFO = "info"
    """Worth knowing; nothing has to be done."""
    WARNING = "warning"
    """It works, and will not for ever, or not in every case."""
    PROBLEM = "problem"
    """Something does not work, or is open to whom it must not be."""

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. A check has one or more of them."""

    check: str
    severity: Severity
    looked_at: str
    """What was looked at, and where."""
    found: str
    """What was found there, with its figures."""
    remedy: str = ""
    """What to do; empty: nothing."""
    partial: bool = False
    """Part of it could not be seen from there, for lack of rights or because something is away; `found` says what."""
    fix: str = ""
    """What the doctor does about it when asked to (--fix); empty: that is for a human to do."""
    fixed: bool = False
    """`fix` has been done just now."""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found, in the order of the checks."""

    at: float
    release: str
    worst: Severity
    findings: list[Finding]
    took_s: float = 0.0


class DoctorQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    only: Annotated[tuple[CheckName, ...], Meta(max_length=50)] = ()
    """These checks; none: all that the daemon can make."""


def worst_of(findings: Iterable[Finding]) -> Severity:
    """OK if there is none. What was put right just now counts no more.

    >>> worst_of([])
    <Severity.OK: 'ok'>
    """
    return max((one.severity for one in findings if not one.fixed), key=lambda one: one.rank, default=Severity.OK)
