"""Makes checks side by side, each within its bound; what goes wrong in a check is a finding like any other."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance import __version__
from appliance.doctor.check import Check, Patient, Seen, apart
from appliance.model_doctor import DoctorReport, Finding, Severity, worst_of

AT_ONCE: Final = 4
"""Most wait for something; together they must not disturb what they look at."""


async def examine(
    checks: Sequence[Check], patient: Patient, *, fix: bool = False, tell: Callable[[Check], None] = lambda _: None
) -> list[Finding]:
    """What these checks find, in their order. `fix`: put right what is safe to, then look again; `tell`: a check is
    done."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(check: Check) -> list[Finding]:
        async with room:
            seen = await _look(check, patient)
            done: list[Finding] = []
            if fix and any(one.repair is not None for one in seen):
                done, failed = await _repair(check, seen)
                seen = [_explained(one, failed) for one in await _look(check, patient)]
            tell(check)
            return [*done, *(_finding(check, one) for one in seen)]

    return [finding for found in await asyncio.gather(*map(one, checks)) for finding in found]


def report_of(findings: Iterable[Finding], began: float) -> DoctorReport:
    """`began`: when the first look was taken (time.monotonic)."""
    found = list(findings)
    return DoctorReport(
        at=time.time(),
        release=__version__,
        worst=worst_of(found),
        findings=found,
        took_s=round(time.monotonic() - began, 3),
    )


async def _look(check: Check, patient: Patient) -> list[Seen]:
    try:
        async with asyncio.timeout(check.bound_s):
            return await check.look(patient)
    except TimeoutError:
        found = f"no answer within {check.bound_s:g} s"
        return [Seen(Severity.WARNING, found, "Something hangs there: a disk, a network, a process.", partial=True)]
    except Exception as error:  # a doctor who faints is of no use
        remedy = "This is a fault of the check itself, or something that it was not made for: please report it."
        return [Seen(Severity.WARNING, f"the check failed: {_fault(error)}", remedy, partial=True)]


async def _repair(check: Check, seen: Iterable[Seen]) -> tuple[list[Finding], Mapping[str, str]]:
    """What was put right, and what could not be: the repair and the reason."""
    done: list[Finding] = []
    failed: dict[str, str] = {}
    for one in seen:
        if one.repair is None:
            continue
        try:
            async with asyncio.timeout(check.bound_s):
                await apart(one.repair.do)
        except Exception as error:  # what is wrong is told again, with this as the reason
            failed[one.repair.what] = _fault(error)
        else:
            done.append(msgspec.structs.replace(_finding(check, one), fixed=True, remedy=""))
    return done, failed


def _explained(seen: Seen, failed: Mapping[str, str]) -> Seen:
    if seen.repair is None or (reason := failed.get(seen.repair.what)) is None:
        return seen
    return dataclasses.replace(seen, found=f"{seen.found}; this could not be put right: {reason}")


def _finding(check: Check, seen: Seen) -> Finding:
    return Finding(
        check=check.name,
        severity=seen.severity,
        looked_at=seen.looked_at or check.looks_at,
        found=seen.found,
        remedy=seen.remedy,
        partial=seen.partial,
        fix="" if seen.repair is None else seen.repair.what,
    )


def _fault(error: Exception) -> str:
    """One line. Only the system's own errors are quoted: others may hold what they were given."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" in {Path(last[0].filename).name}, line {last[0].lineno}" if last else ""
    return f"{type(error).__name__}{place}"
