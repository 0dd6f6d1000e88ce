"""Sockets left behind, and ones that are in use: real ones, with a real lock for a worker's."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine.sockets import CHECK, CONTROL, LOCK
from appliance.model_doctor import Severity
from appliance.sockets import bind_unix
from tests.doctor_patient import look, make_patient, severities, write


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = make_patient(tmp_path)
    patient.settings.paths.run_dir.mkdir(parents=True)
    return patient


def left_behind(path: Path) -> Path:
    bind_unix(path).close()
    return path


def test_nothing_ran_yet(tmp_path: Path) -> None:
    assert severities(look(CHECK, make_patient(tmp_path))) == [Severity.INFO]


def test_in_use_and_left_behind(patient: Patient) -> None:
    used = bind_unix(patient.settings.paths.api_socket)
    stale = left_behind(patient.settings.paths.fork_socket)
    (patient.settings.paths.run_dir / "daemon.lock").touch()
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.INFO
    assert str(stale) in seen.found
    assert seen.repair is not None
    seen.repair.do()
    assert not stale.exists()
    assert patient.settings.paths.api_socket.exists()
    assert severities(look(CHECK, patient)) == [Severity.OK]
    used.close()


def test_one_that_was_taken_up_since_stays(patient: Patient) -> None:
    stale = left_behind(patient.settings.paths.fork_socket)
    (seen,) = look(CHECK, patient)
    stale.unlink()
    taken = bind_unix(stale)
    assert seen.repair is not None
    seen.repair.do()
    assert stale.exists()
    taken.close()


def test_a_workers_by_its_lock_and_without_a_connection(patient: Patient) -> None:
    store = patient.settings.paths.sessions / "awa" / "store"
    store.mkdir(parents=True)
    with bind_unix(store / CONTROL) as control, (store / LOCK).open("w") as lock:
        control.settimeout(0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        write(patient, "/proc/locks", Path("/proc/locks").read_text())
        assert severities(look(CHECK, patient)) == [Severity.OK]
        with pytest.raises(BlockingIOError):
            control.accept()
    write(patient, "/proc/locks", Path("/proc/locks").read_text())
    (seen,) = look(CHECK, patient)
    assert str(store / CONTROL) in seen.found
    assert seen.repair is not None
    seen.repair.do()
    assert not (store / CONTROL).exists()


def test_files_that_are_none(patient: Patient) -> None:
    (patient.settings.paths.run_dir / "api.sock").write_text("not a socket")
    assert severities(look(CHECK, patient)) == [Severity.OK]
