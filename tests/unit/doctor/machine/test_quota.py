"""Quotas against each other, against what a real database says is held, and against a real disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine.quota import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, made_database, make_patient, severities, worst

FLOOR = {"capture_min_free_bytes": str(1 << 20)}


def held(patient: Patient, size: int) -> None:
    asyncio.run(
        made_database(
            patient,
            "INSERT INTO objects (key, session, sha256, size, stored_at) "  # noqa: S608
            f"VALUES ('statuses/awa/2026-01-01/{'0' * 32}.jpg', 'awa', 'x', {size}, 1.0)",
        )
    )


def free_bytes(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def test_well(tmp_path: Path) -> None:
    patient = make_patient(tmp_path, storage_quota_bytes=str(8 << 20), **FLOOR)
    held(patient, 2 << 20)
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.OK
    assert "(25%)" in seen.found


def test_never_started(tmp_path: Path) -> None:
    seen = look(CHECK, make_patient(tmp_path, storage_quota_bytes=str(8 << 20), **FLOOR))
    assert severities(seen) == [Severity.OK]


def test_more_than_the_disk_holds(tmp_path: Path) -> None:
    patient = make_patient(tmp_path, storage_quota_bytes=str(free_bytes(tmp_path) * 2), **FLOOR)
    (tmp_path / "state").mkdir()
    seen = worst(look(CHECK, patient))
    assert seen.severity is Severity.WARNING
    assert "the disk will be full before" in seen.found
    assert seen.remedy.startswith("amda config set storage.quota_bytes ")
    fitting = int(seen.remedy.split()[4].rstrip(";"))
    assert fitting < free_bytes(tmp_path)


def test_what_sessions_may_remember_counts(tmp_path: Path) -> None:
    free = free_bytes(tmp_path)
    patient = make_patient(
        tmp_path, storage_quota_bytes=str(free // 2), capture_keep_bytes=str(free), capture_min_free_bytes=str(1 << 20)
    )
    insert = "INSERT INTO sessions (id, name, node_id, state, since, created_at) VALUES ('awa', '', 'n', 'new', 0, 0)"
    asyncio.run(made_database(patient, insert))
    seen = worst(look(CHECK, patient))
    assert seen.severity is Severity.INFO
    assert "1 sessions may remember" in seen.found


@pytest.mark.parametrize(
    ("settings", "size", "severity", "found"),
    [
        ({"storage_session_quota_bytes": str(16 << 20)}, 1, Severity.WARNING, "says nothing"),
        ({"storage_prune_mode": "manual"}, 8 << 20, Severity.WARNING, "nothing is pruned by itself"),
        ({}, 9 << 20, Severity.PROBLEM, "more is held than the quota allows"),
    ],
)
def test_what_contradicts(tmp_path: Path, settings: dict[str, str], size: int, severity: Severity, found: str) -> None:
    patient = make_patient(tmp_path, storage_quota_bytes=str(8 << 20), **FLOOR, **settings)
    held(patient, size)
    seen = worst(look(CHECK, patient))
    assert seen.severity is severity
    assert found in seen.found


def test_a_database_that_is_none(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    (tmp_path / "state").mkdir()
    patient.settings.paths.database.write_bytes(b"no database" * 1000)
    assert severities(look(CHECK, patient)) == [Severity.PROBLEM]
