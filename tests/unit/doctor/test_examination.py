"""Checks side by side: what hangs or fails is a finding; repairs are done when asked for, told, and looked at again."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from appliance.doctor.check import Check, Patient, Repair, Seen, apart, in_thread, ok, problem, warning
from appliance.doctor.examination import AT_ONCE, examine, report_of
from appliance.model_doctor import Finding, Severity
from tests.doctor_patient import make_patient


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return make_patient(tmp_path)


def of(look: object, name: str = "test", bound_s: float = 5.0) -> Check:
    return Check(name, "a test", look, bound_s=bound_s)  # type: ignore[arg-type]


async def test_a_check_that_fails_is_a_finding_without_what_it_held(patient: Patient) -> None:
    async def look(_: Patient) -> list[Seen]:
        raise RuntimeError("secret_key = hunter2")

    (found,) = await examine([of(look)], patient)
    assert found.severity is Severity.WARNING
    assert found.partial
    assert "RuntimeError in test_examination.py" in found.found
    assert "hunter2" not in str(found)


async def test_an_error_of_the_system_is_quoted(patient: Patient) -> None:
    def look(_: Patient) -> list[Seen]:
        Path("/proc/self/not-there").read_text()
        return []

    (found,) = await examine([of(in_thread(look))], patient)
    assert "No such file or directory (/proc/self/not-there)" in found.found


async def test_a_check_that_hangs_does_not_keep_the_others(patient: Patient) -> None:
    release = threading.Event()

    def hang(_: Patient) -> list[Seen]:
        release.wait(30)
        return []

    async def well(_: Patient) -> list[Seen]:
        return [ok("fine")]

    began = time.monotonic()
    hung = [of(in_thread(hang), f"hangs-{number}", bound_s=0.2) for number in range(AT_ONCE)]
    found = await examine([*hung, of(well, "well")], patient)
    release.set()
    assert time.monotonic() - began < 10
    assert [one.found for one in found] == ["no answer within 0.2 s"] * AT_ONCE + ["fine"]


async def test_at_most_so_many_at_once_and_in_their_order(patient: Patient) -> None:
    running = most = 0

    async def look(_: Patient) -> list[Seen]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return [ok("fine")]

    told: list[str] = []
    names = [f"check-{number}" for number in range(3 * AT_ONCE)]
    found = await examine([of(look, name) for name in names], patient, tell=lambda check: told.append(check.name))
    assert [one.check for one in found] == names
    assert sorted(told) == sorted(names)
    assert most == AT_ONCE


async def test_nothing_is_repaired_unless_asked(patient: Patient, tmp_path: Path) -> None:
    check, mark = broken(tmp_path)
    (found,) = await examine([check], patient)
    assert (found.fix, found.fixed) == ("touch mark", False)
    assert not mark.exists()


async def test_what_was_put_right_is_told_and_looked_at_again(patient: Patient, tmp_path: Path) -> None:
    check, mark = broken(tmp_path)
    done, now = await examine([check], patient, fix=True)
    assert mark.exists()
    assert (done.fixed, done.fix, done.severity) == (True, "touch mark", Severity.PROBLEM)
    assert now.severity is Severity.OK
    assert report_of([done, now], time.monotonic()).worst is Severity.OK


async def test_what_cannot_be_put_right_says_why(patient: Patient, tmp_path: Path) -> None:
    check, mark = broken(tmp_path / "no" / "such")
    (found,) = await examine([check], patient, fix=True)
    assert not mark.exists()
    assert found.severity is Severity.PROBLEM
    assert "this could not be put right: No such file or directory" in found.found


def broken(folder: Path) -> tuple[Check, Path]:
    mark = folder / "mark"

    def look(_: Patient) -> list[Seen]:
        if mark.exists():
            return [ok("mended")]
        return [problem("no mark", "touch it", repair=Repair("touch mark", mark.touch))]

    return of(in_thread(look)), mark


async def test_apart_raises_what_the_work_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        await apart(lambda: 1 // 0)


def test_the_worst_counts() -> None:
    findings = [Finding(check="x", severity=one, looked_at="y", found="z") for one in (Severity.INFO, Severity.WARNING)]
    assert report_of(findings, time.monotonic()).worst is Severity.WARNING
    assert warning("a", "b").severity.rank < problem("a", "b").severity.rank
