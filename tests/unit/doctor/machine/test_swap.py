"""Swap on machines of two sizes, and one that is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.doctor.machine.swap import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, write


@pytest.mark.parametrize(
    ("memory", "total", "free", "severity", "found"),
    [
        (2_000_000, 1_000_000, 900_000, Severity.OK, "97 of 976 MiB"),
        (2_000_000, 1_000_000, 100_000, Severity.WARNING, "the next peak"),
        (2_000_000, 0, 0, Severity.INFO, "there is none"),
        (8_000_000, 0, 0, Severity.OK, "enough without"),
    ],
)
def test_swap(tmp_path: Path, memory: int, total: int, free: int, severity: Severity, found: str) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/proc/meminfo", f"MemTotal: {memory} kB\nSwapTotal: {total} kB\nSwapFree: {free} kB\n")
    (seen,) = look(CHECK, patient)
    assert seen.severity is severity
    assert found in seen.found


def test_a_kernel_that_says_nothing(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.partial
