"""Processes that nobody owns: real ones, named and placed like workers, with and without a fork server above them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.doctor.check import Patient, Seen
from appliance.doctor.machine.processes import CHECK
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, severities

ROOT = str(Path(__file__).resolve().parents[4])
FORK = f"""
import os, signal, sys
sys.path.insert(0, {ROOT!r})
from appliance.processes import set_name
worker = os.fork()
if worker == 0:
    set_name("amda awa")
    print("ready", flush=True)
    signal.pause()
    os._exit(0)
rest = f"import os, sys; sys.stdin.read(); os.kill({{worker}}, 15); os.wait()"
if "orphan" in sys.argv:
    os.execv(sys.executable, [sys.executable, "-c", rest])
exec(rest)
"""
"""A fork server with one worker, as the kernel shows them; with `orphan`, the fork server becomes something else."""
WAIT_S = 30.0

Play = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return make_patient(tmp_path)


@pytest.fixture
def play(patient: Patient) -> Iterator[Play]:
    started: list[subprocess.Popen[str]] = []

    def start(*more: str, socket: str = "") -> subprocess.Popen[str]:
        place = socket or str(patient.settings.paths.fork_socket)
        process = subprocess.Popen(
            [sys.executable, "-c", FORK, "appliance.forkserver", "--socket", place, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.communicate(timeout=30)


def test_nobody(patient: Patient) -> None:
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_a_worker_below_its_fork_server_is_well(patient: Patient, play: Play) -> None:
    play()
    (seen,) = look(CHECK, patient)
    assert (seen.severity, seen.found) == (Severity.OK, "1 processes of sessions, each with its fork server")


def test_a_worker_without_a_fork_server_is_found_and_ended(patient: Patient, play: Play) -> None:
    play("orphan")
    (seen,) = eventually(patient, Severity.PROBLEM)  # as soon as the fork server has become something else
    assert seen.found.startswith("awa: process ")
    assert "has lost its fork server" in seen.found
    assert seen.repair is not None
    seen.repair.do()
    eventually(patient, Severity.OK)


def eventually(patient: Patient, severity: Severity) -> list[Seen]:
    """What is seen as soon as it is that; what is waited for is another process's next step."""
    deadline = time.monotonic() + WAIT_S
    while severities(seen := look(CHECK, patient)) != [severity]:
        assert time.monotonic() < deadline, seen
    return seen


def test_somebody_elses_appliance_is_left_alone(patient: Patient, play: Play) -> None:
    play("orphan", socket="/elsewhere/fork.sock")
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_two_fork_servers_for_one_socket(patient: Patient, play: Play) -> None:
    play()
    play()
    play(socket="/elsewhere/fork.sock")
    (seen,) = look(CHECK, patient)
    assert seen.severity is Severity.PROBLEM
    assert seen.found.startswith("2 fork servers")
