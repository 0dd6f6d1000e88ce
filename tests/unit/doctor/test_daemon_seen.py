"""What is said of a daemon that answers, is of another release, away, closed to this user, or older than the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import __version__
from appliance.doctor import daemon_seen
from appliance.doctor.check import Seen
from appliance.model_doctor import Severity

SOCKET = Path("/run/amda/api.sock")


@pytest.mark.parametrize(
    ("seen", "severity", "partial", "found"),
    [
        (daemon_seen.answers(__version__), Severity.OK, False, f"is release {__version__}"),
        (daemon_seen.answers("0.0.1"), Severity.WARNING, False, f"release 0.0.1, and this command {__version__}"),
        (daemon_seen.away(SOCKET), Severity.PROBLEM, False, f"nobody answers on {SOCKET}"),
        (daemon_seen.forbidden(SOCKET, "ousmane"), Severity.INFO, True, f"may not use {SOCKET}"),
        (daemon_seen.of_before("no such address"), Severity.INFO, True, "no such address"),
    ],
)
def test_the_daemon_from_outside(seen: Seen, severity: Severity, partial: bool, found: str) -> None:
    finding = daemon_seen.finding(seen)
    assert (finding.check, finding.severity, finding.partial) == (daemon_seen.NAME, severity, partial)
    assert found in finding.found
    assert finding.remedy or severity is Severity.OK
