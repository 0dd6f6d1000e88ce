"""Backups, as their record tells of them: never, late, failed, unproven, with a key that nobody has kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.backup.record import NAME, change_record
from appliance.doctor.check import Patient, Seen
from appliance.doctor.machine.backup import CHECK
from appliance.model_backup import BackupCheck, BackupRun
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities, worst

DAY_S = 86_400.0


def run(days: float, skipped: dict[str, str] | None = None) -> BackupRun:
    """A backup that was made so many days ago."""
    return BackupRun(
        id="0a1b", at=time.time() - days * DAY_S, reason="timer", seconds=3.0, sessions=1, files=7, size=7, added=7,
        media=None, removed=0, release="0.1.0", skipped=skipped or {},
    )  # fmt: skip


def check(days: float) -> BackupCheck:
    at = time.time() - days * DAY_S
    return BackupCheck(id="0a1b", at=at, seconds=3.0, files=7, size=7, sessions=1, all_data=False)


def recorded(patient: Patient, **fields: object) -> list[Seen]:
    """What is seen of a record, as the backups themselves write it; of one whose key is kept elsewhere."""
    change_record(patient.settings.paths.backups, **{"key_made_at": 1.0, "key_confirmed_at": 2.0, **fields})
    return look(CHECK, patient)


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return make_patient(tmp_path)


def test_never(patient: Patient) -> None:
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.WARNING
    assert "no backup has ever run" in seen.found
    assert seen.remedy == "amda backup run"


def test_well(patient: Patient) -> None:
    (seen,) = recorded(patient, last_run=run(0.5), last_check=check(3))
    assert (seen.severity, seen.found) == (Severity.OK, "the last good one was made 12 hours ago")


@pytest.mark.parametrize(("days", "severity"), [(3, Severity.WARNING), (30, Severity.PROBLEM)])
def test_late(patient: Patient, days: int, severity: Severity) -> None:
    seen = worst(recorded(patient, last_run=run(days), last_check=check(1)))
    assert seen.severity is severity
    assert f"{days} days ago" in seen.found


@pytest.mark.parametrize("days", [None, 45])
def test_unproven(patient: Patient, days: int | None) -> None:
    proof = None if days is None else check(days)
    assert severities(recorded(patient, last_run=run(0.1), last_check=proof)) == [Severity.OK, Severity.INFO]


def test_a_login_that_is_missing(patient: Patient) -> None:
    seen = worst(recorded(patient, last_run=run(0.1, {"awa": "its disk is damaged"}), last_check=check(1)))
    assert seen.severity is Severity.PROBLEM
    assert "as of awa" in seen.found


def test_failed(patient: Patient) -> None:
    seen = worst(
        recorded(patient, last_run=run(0.1), last_check=check(1), error="the repository is locked; amda backup unlock")
    )
    assert seen.severity is Severity.PROBLEM
    assert "the repository is locked" in seen.found


@pytest.mark.parametrize("made_at", [1.0, None], ids=["made by a backup", "made by install.sh"])
def test_a_key_that_lies_here_only(patient: Patient, made_at: float | None) -> None:
    key = {"key_made_at": made_at, "key_confirmed_at": None}
    seen = worst(recorded(patient, last_run=run(0.1), last_check=check(1), **key))
    assert seen.severity is Severity.WARNING
    assert seen.looked_at == "the key of the backups"


def test_a_damaged_record(patient: Patient) -> None:
    patient.settings.paths.backups.mkdir(parents=True)
    (patient.settings.paths.backups / NAME).write_text("{")
    assert severities(look(CHECK, patient)) == [Severity.WARNING]


def test_on_the_same_disk(patient: Patient) -> None:
    patient.settings.backup.path.mkdir(parents=True)
    seen = recorded(patient, last_run=run(0.1), last_check=check(1))
    assert severities(seen) == [Severity.OK, Severity.INFO]
    assert "who loses it loses both" in seen[1].found
