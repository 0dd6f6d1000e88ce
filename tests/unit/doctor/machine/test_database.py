"""The database: whole, damaged, of a newer release, swollen, and hidden from others."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine import database
from appliance.doctor.machine.database import CHECK
from appliance.migrations import MIGRATIONS
from appliance.model_doctor import Severity
from tests.doctor_patient import look, made_database, make_patient, severities


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = make_patient(tmp_path)
    asyncio.run(made_database(patient))
    return patient


def test_well_and_nothing_is_written(patient: Patient) -> None:
    before = patient.settings.paths.database.read_bytes()
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.OK
    assert f"schema {len(MIGRATIONS)}, whole" in seen.found
    assert patient.settings.paths.database.read_bytes() == before


def test_none_yet(tmp_path: Path) -> None:
    assert severities(look(CHECK, make_patient(tmp_path))) == [Severity.INFO]


def test_damaged(patient: Patient) -> None:
    path = patient.settings.paths.database
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM


def test_of_a_newer_release(patient: Patient) -> None:
    with sqlite3.connect(patient.settings.paths.database) as connection:
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    connection.close()
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert "newer release" in seen.found


def test_a_log_that_grows(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LARGE_LOG", 1)
    with sqlite3.connect(patient.settings.paths.database) as connection:
        connection.execute("INSERT INTO meta (key, value) VALUES ('a', 'b')")
        connection.commit()
        assert severities(look(CHECK, patient)) == [Severity.WARNING, Severity.OK]
    connection.close()


def test_one_too_large_to_be_read_by_the_way(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKED", 1)
    (seen,) = look(CHECK, patient)
    assert "too large to be read as a whole" in seen.found
