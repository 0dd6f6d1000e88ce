"""What the kernel has: this one as it is, and files of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.doctor.check import Patient, Seen
from appliance.doctor.machine import kernel
from appliance.model_doctor import Severity
from tests.doctor_patient import look, make_patient, write


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    patient = make_patient(tmp_path)
    write(patient, "/proc/sys/kernel/seccomp/actions_avail", "kill_process errno allow\n")
    write(patient, "/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n")
    write(patient, f"{kernel.SESSIONS_GROUP}/cgroup.subtree_control", "cpu memory pids\n")
    write(patient, "/proc/sys/vm/overcommit_memory", "0\n")
    write(patient, "/proc/sys/fs/inotify/max_user_watches", "65536\n")
    return patient


def seen_of(patient: Patient, what: str) -> Seen:
    return next(one for one in look(kernel.CHECK, patient) if what in one.looked_at)


@pytest.mark.parametrize(
    ("version", "severity", "found"),
    [
        (0, Severity.WARNING, "there is none"),
        (1, Severity.WARNING, "cut to nothing"),
        (3, Severity.INFO, "signals"),
        (7, Severity.OK, "version 7"),
    ],
)
def test_landlock(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, version: int, severity: Severity, found: str
) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: version)
    seen = seen_of(patient, "Landlock")
    assert seen.severity is severity
    assert found in seen.found


def test_a_process_that_may_not_ask(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "landlock_version", lambda: -1)
    assert seen_of(patient, "Landlock").partial
    write(patient, "/sys/kernel/security/lsm", "capability,landlock,apparmor\n")
    assert seen_of(patient, "Landlock").severity is Severity.OK


def test_this_kernel_answers() -> None:
    assert kernel.landlock_version() >= -1


def test_all_well(patient: Patient) -> None:
    names = ("seccomp", "control groups")
    assert [seen_of(patient, name).severity for name in names] == [Severity.OK] * 2


@pytest.mark.parametrize(
    ("file", "content", "what", "severity"),
    [
        ("/proc/sys/kernel/seccomp/actions_avail", "kill_process allow", "seccomp", Severity.WARNING),
        ("/sys/fs/cgroup/cgroup.controllers", "", "control groups", Severity.INFO),
        (f"{kernel.SESSIONS_GROUP}/cgroup.subtree_control", "memory", "control groups", Severity.WARNING),
        ("/proc/sys/vm/overcommit_memory", "2\n", "overcommit", Severity.WARNING),
        ("/proc/sys/fs/inotify/max_user_watches", "128\n", "inotify", Severity.WARNING),
    ],
)
def test_what_is_missing(patient: Patient, file: str, content: str, what: str, severity: Severity) -> None:
    write(patient, file, content)
    assert seen_of(patient, what).severity is severity


def test_without_the_unit(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    write(patient, "/sys/fs/cgroup/cgroup.controllers", "memory pids cpu")
    assert "does not run here" in seen_of(patient, "control groups").found
