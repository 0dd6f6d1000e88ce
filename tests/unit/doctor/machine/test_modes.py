"""File modes, on real files: what is open is named, closed by --fix, and links are not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine import modes
from appliance.doctor.machine.modes import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = make_patient(tmp_path)
    store = patient.settings.paths.sessions / "awa" / "store"
    store.mkdir(parents=True)
    (store / "device.db").touch()
    patient.settings.paths.database.touch()
    patient.settings.paths.run_dir.mkdir()
    for path in (patient.settings.paths.state_dir, *patient.settings.paths.state_dir.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return patient


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_well(patient: Patient) -> None:
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.OK
    assert "7 files and folders" in seen.found


def test_what_is_open_is_named_and_closed(patient: Patient) -> None:
    device = patient.settings.paths.sessions / "awa" / "store" / "device.db"
    device.chmod(0o644)
    patient.settings.paths.sessions.chmod(0o755)
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert f"{device} (0644)" in seen.found
    assert seen.repair is not None
    seen.repair.do()
    assert (mode(device), mode(patient.settings.paths.sessions)) == (0o600, 0o700)
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_what_lies_in_a_closed_folder_needs_no_more(patient: Patient) -> None:
    logs = patient.settings.paths.state_dir / "logs"
    logs.mkdir(mode=0o700)
    (logs / "daemon.log").touch()
    (logs / "daemon.log").chmod(0o644)
    (logs / "others.db").touch()
    (logs / "others.db").chmod(0o644)
    (logs / "older").mkdir(mode=0o755)
    (logs / "older" / "daemon.log").touch()
    (logs / "older" / "daemon.log").chmod(0o644)
    assert severities(look(CHECK, patient)) == [Severity.OK]
    logs.chmod(0o755)
    patient.settings.paths.state_dir.chmod(0o755)
    (seen,) = look(CHECK, patient)
    assert seen.found.startswith("6 files or folders")


def test_the_group_may_use_sockets(patient: Patient) -> None:
    run = patient.settings.paths.run_dir
    (run / "api.sock").touch()
    (run / "api.sock").chmod(0o660)
    run.chmod(0o750)
    assert severities(look(CHECK, patient)) == [Severity.OK]
    run.chmod(0o755)
    assert severities(look(CHECK, patient)) == [Severity.PROBLEM]


def test_a_link_is_neither_judged_nor_followed(patient: Patient, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(mode=0o644)
    elsewhere.chmod(0o644)
    device = patient.settings.paths.sessions / "awa" / "store" / "device.db"
    (device.parent / "link").symlink_to(elsewhere)
    assert severities(look(CHECK, patient)) == [Severity.OK]
    device.chmod(0o666)
    (seen,) = look(CHECK, patient)
    device.unlink()
    device.symlink_to(elsewhere)  # put there by somebody between look and repair
    assert seen.repair is not None
    with pytest.raises(OSError, match="a link has been put there"):
        seen.repair.do()
    assert mode(elsewhere) == 0o644


def test_a_link_on_the_way_is_not_followed_either(patient: Patient, tmp_path: Path) -> None:
    sessions = patient.settings.paths.sessions
    (sessions / "awa" / "store" / "device.db").chmod(0o666)
    (seen,) = look(CHECK, patient)
    elsewhere = tmp_path / "elsewhere" / "store"
    elsewhere.mkdir(parents=True)
    (elsewhere / "device.db").touch(mode=0o644)
    (elsewhere / "device.db").chmod(0o666)
    (sessions / "awa").rename(tmp_path / "moved")
    (sessions / "awa").symlink_to(elsewhere.parent)
    assert seen.repair is not None
    with pytest.raises(OSError, match="a link has been put there"):
        seen.repair.do()
    assert mode(elsewhere / "device.db") == 0o666


@pytest.mark.parametrize(
    ("setting", "given", "wanted"),
    [
        ("storage_credentials", 0o640, 0o600),
        ("redis_password_file", 0o644, 0o640),
        ("redis_password_file", 0o640, None),
    ],
)
def test_files_of_secrets(tmp_path: Path, patient: Patient, setting: str, given: int, wanted: int | None) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    secret.chmod(given)
    seen = look(CHECK, make_patient(tmp_path, **{setting: str(secret)}))
    assert severities(seen) == [Severity.OK if wanted is None else Severity.PROBLEM]
    if wanted is not None:
        assert seen[0].repair is not None
        seen[0].repair.do()
        assert mode(secret) == wanted


def test_a_secret_that_is_not_there(tmp_path: Path, patient: Patient) -> None:
    seen = look(CHECK, make_patient(tmp_path, redis_password_file=str(tmp_path / "gone")))
    assert Severity.PROBLEM in severities(seen)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else(patient: Patient) -> None:
    foreign = patient.settings.paths.database
    os.chown(foreign, 12345, -1)
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert str(foreign) in seen.found
    assert seen.repair is not None
    seen.repair.do()
    assert foreign.stat().st_uid == 0


def test_nothing_there_yet(tmp_path: Path) -> None:
    assert severities(look(CHECK, make_patient(tmp_path))) == [Severity.INFO]


def test_there_is_a_bound(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "MOST", 3)
    (seen,) = look(CHECK, patient)
    assert "the first 3 of them" in seen.found
