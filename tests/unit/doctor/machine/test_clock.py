"""The clock: kept right or not, set back since the newest event, and against a server that says another time."""

from __future__ import annotations

import asyncio
import email.utils
import http.server
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.doctor.machine import clock
from appliance.doctor.machine.clock import CHECK, Timex
from appliance.model_doctor import Severity
from tests.doctor_patient import look, made_database, make_patient, severities, worst, write
from tests.web_server import serving


@pytest.fixture(autouse=True)
def _synchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timex, "read", lambda: Timex(synchronised=True, error_s=0.004))


def test_the_kernel_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = Timex.read()
    assert found is None or found.error_s >= 0


def test_well(tmp_path: Path) -> None:
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert (seen.severity, seen.found) == (Severity.OK, "it is kept right, to 4 ms at most")


def test_nobody_keeps_it_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timex, "read", lambda: Timex(synchronised=False, error_s=16.0))
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.severity is Severity.WARNING
    assert "timedatectl set-ntp true" in seen.remedy


def test_a_service_that_may_not_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Timex, "read", lambda: None)
    patient = make_patient(tmp_path)
    assert look(CHECK, patient)[0].partial
    write(patient, "/run/systemd/timesync/synchronized", "")
    assert severities(look(CHECK, patient)) == [Severity.OK]


def test_a_clock_of_long_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time", lambda: 86_400.0)
    (seen,) = look(CHECK, make_patient(tmp_path))
    assert seen.severity is Severity.PROBLEM
    assert "1970-01-02" in seen.found


@pytest.mark.parametrize(("ahead_s", "severity"), [(-10, Severity.OK), (7200, Severity.WARNING)])
def test_events_of_the_future(tmp_path: Path, ahead_s: float, severity: Severity) -> None:
    patient = make_patient(tmp_path)
    insert = f"INSERT INTO events (at, type, data) VALUES ({time.time() + ahead_s}, 'x', '{{}}')"  # noqa: S608
    asyncio.run(made_database(patient, insert))
    assert worst(look(CHECK, patient)).severity is severity


@pytest.fixture
def server() -> Iterator[Callable[[float], str]]:
    """A server whose clock is so many seconds from ours."""
    skew = [0.0]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(403)
            self.send_header("Date", email.utils.formatdate(time.time() + skew[0], usegmt=True))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not into the test's output."""

    with serving(Handler) as url:

        def of(skew_s: float) -> str:
            skew[0] = skew_s
            return url

        yield of


@pytest.mark.parametrize(("skew_s", "severity"), [(0, Severity.OK), (-60, Severity.WARNING), (900, Severity.PROBLEM)])
def test_another_machines_clock(server: Callable[[float], str], skew_s: float, severity: Severity) -> None:
    (seen,) = clock.against(server(skew_s))
    assert seen.severity is severity


def test_a_server_that_is_away_is_another_checks_matter() -> None:
    assert list(clock.against("http://127.0.0.1:9")) == []


def test_an_endpoint_on_this_machine_has_this_clock(tmp_path: Path, server: Callable[[float], str]) -> None:
    patient = make_patient(tmp_path, storage_endpoint=server(900))
    assert severities(look(CHECK, patient)) == [Severity.OK]
