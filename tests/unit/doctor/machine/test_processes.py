"""Processes that nobody owns: real ones, named and placed like workers, with and without a fork server above them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.doctor.check import Patient
from appliance.doctor.machine.processes import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities

PLAY = """
import sys, os
sys.path.insert(0, sys.argv[1])
from appliance.processes import set_name
os.chdir(sys.argv[2])
set_name("amda awa")
print("ready", flush=True)
sys.stdin.read()
"""
FORK = """
import subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[2:]])
"""
ROOT = str(Path(__file__).resolve().parents[4])

Play = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def play() -> Iterator[Play]:
    started: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.communicate(timeout=30)


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = make_patient(tmp_path)
    (patient.settings.paths.sessions / "awa" / "store").mkdir(parents=True)
    return patient


def store(patient: Patient) -> str:
    return str(patient.settings.paths.sessions / "awa" / "store")


def test_nobody(patient: Patient) -> None:
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_a_worker_without_a_fork_server_is_found_and_ended(patient: Patient, play: Play) -> None:
    process = play(PLAY, ROOT, store(patient))
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert f"awa: process {process.pid} has lost its fork server" in seen.found
    assert seen.repair is not None
    assert seen.repair.what == f"kill {process.pid}"
    seen.repair.do()
    assert process.wait(timeout=30) == -15
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_a_worker_below_its_fork_server_is_well(patient: Patient, play: Play) -> None:
    play(FORK, "appliance.forkserver", PLAY, ROOT, store(patient))
    (seen,) = look(CHECK, patient)
    assert (seen.severity, seen.found) == (Severity.OK, "1 processes of sessions, each with its fork server")


def test_somebody_elses_appliance_is_left_alone(patient: Patient, play: Play, tmp_path: Path) -> None:
    play(PLAY, ROOT, str(tmp_path))
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_two_fork_servers_for_one_socket(patient: Patient, play: Play) -> None:
    wait = "import sys; print('ready', flush=True); sys.stdin.read()"
    for _ in range(2):
        play(wait, "appliance.forkserver", "--socket", str(patient.settings.paths.fork_socket))
    play(wait, "appliance.forkserver", "--socket", "/elsewhere/fork.sock")
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert seen.found.startswith("2 fork servers")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is hidden from root")
def test_what_others_do_is_not_seen(patient: Patient) -> None:
    """Process 1 is not ours, and not taken for a session's."""
    assert severities(look(CHECK, patient)) == [Severity.OK]
