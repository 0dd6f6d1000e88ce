"""What can be said of the daemon from outside: whether it answers, and whether it is of this release."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from appliance import __version__
from appliance.doctor.check import Seen, ok, problem, warning
from appliance.model_doctor import Finding, Severity

NAME: Final = "daemon"
LOOKS_AT: Final = "daemon, whether it answers"


def answers(release: str) -> Seen:
    if release == __version__:
        return ok(f"it answers, and is release {release}")
    return warning(
        f"it is release {release}, and this command {__version__}", "systemctl restart amda: no session disconnects"
    )


def away(socket: Path) -> Seen:
    found = f"nobody answers on {socket}: only what can be seen without it was looked at"
    return problem(found, "systemctl start amda, or: amda run; why: journalctl -u amda")


def forbidden(socket: Path, user: str) -> Seen:
    remedy = f"adduser {user} amda, then log in again; or as root"
    return Seen(Severity.INFO, f"this user may not use {socket}", remedy, partial=True)


def of_before(refusal: str) -> Seen:
    """One of a release that has no doctor."""
    return Seen(Severity.INFO, f"it does not know how to look: {refusal}", "Restart it.", partial=True)


def finding(seen: Seen) -> Finding:
    return Finding(
        check=NAME,
        severity=seen.severity,
        looked_at=LOOKS_AT,
        found=seen.found,
        remedy=seen.remedy,
        partial=seen.partial,
    )
