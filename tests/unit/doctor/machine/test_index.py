"""The index against a real folder of media: what is gone, what has another size, what is just being stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine.index import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, made_database, make_patient, severities

SIZE = 7


def key(number: int) -> str:
    return f"statuses/awa/2026-11-01/{number:032x}.jpg"


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """Three objects, each with an item that refers to it."""
    patient = make_patient(tmp_path)
    statements = []
    for number in range(3):
        name = key(number)
        values = f"'{name}', 'awa', '{number}', {SIZE}, 1.0, 1"
        statements.append(f"INSERT INTO objects (key, session, sha256, size, stored_at, refs) VALUES ({values})")  # noqa: S608
        file = patient.settings.storage.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * SIZE)
    asyncio.run(made_database(patient, *statements))
    return patient


def test_well(patient: Patient) -> None:
    (seen,) = look(CHECK, patient)
    assert (seen.severity, seen.found.split(",")[0]) == (Severity.OK, "3 objects")


def test_gone(patient: Patient) -> None:
    (patient.settings.storage.path / key(1)).unlink()
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert f"of 3 objects 1 are not in media folder {patient.settings.storage.path}" in seen.found
    assert seen.found.endswith(key(1))
    assert "amda storage check" in seen.remedy


def test_of_another_size(patient: Patient) -> None:
    (patient.settings.storage.path / key(2)).write_bytes(b"cut")
    assert severities(look(CHECK, patient)) == [Severity.PROBLEM]


def test_what_is_under_way_proves_nothing(patient: Patient) -> None:
    (patient.settings.storage.path / key(1)).unlink()
    insert = f"INSERT INTO pending_objects (key, session, size, at) VALUES ('{key(1)}', 'awa', {SIZE}, 1.0)"  # noqa: S608
    asyncio.run(made_database(patient, insert))
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_never_started(tmp_path: Path) -> None:
    assert severities(look(CHECK, make_patient(tmp_path))) == [Severity.INFO]
