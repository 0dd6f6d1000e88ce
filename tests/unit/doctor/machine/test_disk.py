"""Disks: a real one, and figures that no test may bring about on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.doctor.machine import disk
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities

BLOCK = 4096
FLOOR = 512 << 20


def state(*, free: int, total: int = 20 << 30, inodes: float = 0.9, read_only: bool = False) -> os.statvfs_result:
    """statvfs(3) of a disk with these figures."""
    flags = os.ST_RDONLY if read_only else 0
    files = 1_000_000
    left = round(files * inodes)
    return os.statvfs_result(
        (BLOCK, BLOCK, total // BLOCK, free // BLOCK, free // BLOCK, files, left, left, flags, 255)
    )


@pytest.mark.parametrize(
    ("found", "severity", "told"),
    [
        (state(free=10 << 30), Severity.OK, "10.7 of 21.5 GB are free (50%), 90% of the inodes"),
        (state(free=900 << 20), Severity.WARNING, "below 512 MiB no media is fetched"),
        (state(free=3 << 30, total=100 << 30), Severity.WARNING, "(3%)"),
        (state(free=100 << 20), Severity.PROBLEM, "media is not fetched below 512 MiB"),
        (state(free=10 << 30, inodes=0.05), Severity.WARNING, "5% of its inodes"),
        (state(free=10 << 30, inodes=0.01), Severity.PROBLEM, "1% of its inodes"),
        (state(free=10 << 30, read_only=True), Severity.PROBLEM, "mounted read-only"),
    ],
)
def test_figures(found: os.statvfs_result, severity: Severity, told: str) -> None:
    seen = list(disk.judge(found, FLOOR, "a disk", must_write=True))
    worst = max(seen, key=lambda one: one.severity.rank)
    assert worst.severity is severity
    assert told in worst.found


def test_what_is_not_ours_may_be_read_only() -> None:
    seen = list(disk.judge(state(free=10 << 30, read_only=True), FLOOR, "a disk", must_write=False))
    assert severities(seen) == [Severity.OK]


def test_a_file_system_that_counts_no_inodes() -> None:
    plain = state(free=10 << 30)
    none = os.statvfs_result((*plain[:5], 0, 0, 0, *plain[8:]))
    assert severities(list(disk.judge(none, FLOOR, "a disk", must_write=True))) == [Severity.OK]


def test_the_real_one(tmp_path: Path) -> None:
    patient = make_patient(tmp_path, capture_min_free_bytes="1048576")
    seen = look(disk.CHECK, patient)
    assert any(str(tmp_path / "state") in one.looked_at for one in seen), "it is looked at before it exists"
    assert all("GB are free" in one.found or "inodes" in one.found for one in seen)


def test_more_is_wanted_free_than_there_is(tmp_path: Path) -> None:
    patient = make_patient(tmp_path, capture_min_free_bytes=str(1 << 60))
    assert Severity.PROBLEM in severities(look(disk.CHECK, patient))
