"""Memory: figures of machines that are well and of some that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.doctor.machine.memory import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities, write

MEMINFO = "MemTotal:        2048000 kB\nMemFree:  10 kB\nMemAvailable:   {available} kB\nHugePages_Total: 0\n"


@pytest.mark.parametrize(
    ("available", "severity"), [(900_000, Severity.OK), (200_000, Severity.WARNING), (50_000, Severity.PROBLEM)]
)
def test_what_is_available(tmp_path: Path, available: int, severity: Severity) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/proc/meminfo", MEMINFO.format(available=available))
    (seen,) = look(CHECK, patient)
    assert seen.severity is severity
    assert "of 2000 MiB are available" in seen.found


def test_stalls_and_kills(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/proc/meminfo", MEMINFO.format(available=900_000))
    write(patient, "/proc/pressure/memory", "some avg10=0.00 avg60=12.50 avg300=1.00 total=1\nfull avg10=0.00\n")
    write(patient, "/proc/vmstat", "pgfault 12\noom_kill 3\n")
    seen = look(CHECK, patient)
    assert severities(seen) == [Severity.OK, Severity.WARNING, Severity.INFO]
    assert "12.50 %" in seen[1].found
    assert "3 processes were killed" in seen[2].found


def test_a_kernel_that_says_nothing(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.partial
