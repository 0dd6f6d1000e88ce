"""The settings file: one that cannot be used, one that others may read or write, and what --fix does about it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.doctor.machine.settings import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities

SECRET = '[alerts]\nwebhook_url = "https://127.0.0.1/hook"\nwebhook_secret = "0123456789abcdef0123456789abcdef"\n'


def test_well(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.severity is Severity.OK
    assert "sets 0 settings; 1 come from the environment" in seen.found


def test_a_file_that_was_broken_since(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    patient.loaded.file.write_text("[pairing]\nslotz = 4\n")
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert "did you mean slots?" in seen.found


def test_a_file_that_has_vanished_is_no_decision_for_defaults(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    patient.loaded.file.unlink()
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert "no such file" in seen.found


def test_what_the_command_could_not_use(tmp_path: Path) -> None:
    patient = dataclasses.replace(make_patient(tmp_path), broken="amda.toml: not valid TOML")
    (seen,) = look(CHECK, patient)
    assert (seen.severity, seen.found) == (Severity.PROBLEM, "amda.toml: not valid TOML")
    assert not CHECK.needs_settings


@pytest.mark.parametrize(("mode", "worst"), [(0o600, Severity.OK), (0o640, Severity.OK), (0o644, Severity.WARNING)])
def test_secrets_are_not_for_everybody(tmp_path: Path, mode: int, worst: Severity) -> None:
    patient = make_patient(tmp_path)
    patient.loaded.file.write_text(SECRET)
    patient.loaded.file.chmod(mode)
    seen = look(CHECK, patient)
    assert max(severities(seen), key=lambda one: one.rank) is worst
    if worst is not Severity.OK:
        assert "alerts.webhook_secret" in seen[0].found
        assert "0123456789" not in str(seen)
        assert seen[0].repair is not None
        seen[0].repair.do()
        assert patient.loaded.file.stat().st_mode & 0o777 == 0o640
        assert severities(look(CHECK, patient)) == [Severity.OK]


def test_without_secrets_everybody_may_read_it(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    patient.loaded.file.chmod(0o644)
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_nobody_else_may_change_it(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    patient.loaded.file.chmod(0o666)
    first = look(CHECK, patient)[0]
    assert first.severity is Severity.PROBLEM
    assert first.repair is not None
    first.repair.do()
    assert patient.loaded.file.stat().st_mode & 0o777 == 0o644
