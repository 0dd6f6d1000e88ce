"""The engine: the real library of this release, and ages that only a made-up one has."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.doctor.machine.engine import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities

DAY_S = 86_400


def test_the_one_that_came_with_this_release(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert "35ae40906e74" in seen.found
    assert "it says to WhatsApp that it is 2.3000." in seen.found


@pytest.mark.parametrize(("days", "severity"), [(10, Severity.OK), (120, Severity.WARNING), (400, Severity.PROBLEM)])
def test_age(tmp_path: Path, days: int, severity: Severity) -> None:
    made = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() - days * DAY_S))
    library = tmp_path / "engine.so"
    library.write_bytes(b"\0dep\tgo.mau.fi/whatsmeow\tv0.0.0-" + made.encode() + b"-0123456789ab\th1:x\0")
    (seen,) = look(CHECK, make_patient(tmp_path, engine_library=str(library)))
    assert seen.severity is severity
    assert f"{days} days old" in seen.found


@pytest.mark.parametrize("content", [b"something else", b""])
def test_what_is_no_engine(tmp_path: Path, content: bytes) -> None:
    library = tmp_path / "engine.so"
    library.write_bytes(content)
    (seen,) = look(CHECK, make_patient(tmp_path, engine_library=str(library)))
    assert seen.severity in (Severity.WARNING, Severity.PROBLEM)


def test_what_is_not_there(tmp_path: Path) -> None:
    seen = look(CHECK, make_patient(tmp_path, engine_library=str(tmp_path / "none.so")))
    assert severities(seen) == [Severity.PROBLEM]


def test_a_rehearsal(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path, network_staging=str(tmp_path)))
    assert (seen.severity, seen.looked_at) == (Severity.OK, "engine: staging")
