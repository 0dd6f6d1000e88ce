"""What was left behind: half-written files go with --fix when they are old; folders are the daemon's to clear."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine.leftovers import CHECK, INCOMING
from appliance.model_doctor import Severity
from tests.doctor_patient import look, made_database, make_patient, severities


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = make_patient(tmp_path)
    insert = "INSERT INTO sessions (id, name, node_id, state, since, created_at) VALUES ('awa', '', 'n', 'new', 0, 0)"
    asyncio.run(made_database(patient, insert))
    return patient


def aged(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return path


def test_nothing(patient: Patient) -> None:
    (patient.settings.paths.sessions / "awa").mkdir(parents=True)
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_half_written_files(patient: Patient) -> None:
    incoming = patient.settings.storage.path / INCOMING
    old, new = aged(incoming / "old", 7200), aged(incoming / "new", 60)
    socket = aged(patient.settings.paths.run_dir / ".api.sock.4711", 7200)
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.INFO
    assert seen.found.startswith("2 files")
    assert seen.repair is not None
    seen.repair.do()
    assert (old.exists(), new.exists(), socket.exists()) == (False, True, False)
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_a_link_to_another_folder_is_not_cleared(patient: Patient, tmp_path: Path) -> None:
    kept = aged(tmp_path / "elsewhere" / "kept", 7200)
    incoming = patient.settings.storage.path / INCOMING
    old = aged(incoming / "kept", 7200)
    (seen,) = look(CHECK, patient)
    old.unlink()
    incoming.rmdir()
    incoming.symlink_to(kept.parent)
    assert seen.repair is not None
    with pytest.raises(OSError, match="a link has been put there"):
        seen.repair.do()
    assert kept.exists()
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_folders_of_sessions_that_do_not_exist_are_only_told(patient: Patient) -> None:
    orphan = patient.settings.paths.sessions / "moussa" / "store"
    orphan.mkdir(parents=True)
    (seen,) = look(CHECK, patient)
    assert str(orphan.parent) in seen.found
    assert seen.repair is None


def test_without_a_database(tmp_path: Path) -> None:
    assert severities(look(CHECK, make_patient(tmp_path))) == [Severity.INFO]
