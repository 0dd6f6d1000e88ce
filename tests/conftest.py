"""What every test shares: how hard hypothesis searches, and the promise that no test speaks to the outside world."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from appliance.media.compression.video import installed
from appliance.minio_server import find_minio

QUICK_EXAMPLES = 10
"""`./run-tests quick` looks for a regression, not for a new bug: it has 30 seconds for everything."""
DEFAULT_EXAMPLES = 100
EXAMPLE_DEADLINE = timedelta(seconds=5)
"""Continuous integration shares its cores; a slow example is only worth a failure when it hangs."""

for _name, _examples in (("quick", QUICK_EXAMPLES), ("default", DEFAULT_EXAMPLES)):
    settings.register_profile(
        _name,
        max_examples=_examples,
        deadline=EXAMPLE_DEADLINE,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
settings.load_profile(os.environ.get("AMDA_TEST_PROFILE", "default"))
os.environ["LANGUAGE"] = "en"  # whatever the locale of the person who tests: programs are started with it, too


for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)
"""pytest-xdist sets them for its processes; a terminal that a test opens says its size itself."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True, scope="session")
def _only_this_machine() -> Iterator[None]:
    """Fail a test that connects beyond loopback: real WhatsApp is never contacted, and a test that needs it is no test.

    Child processes are not covered; those that run the engine are held back by its proxy setting.
    """
    patch = pytest.MonkeyPatch()
    for method in ("connect", "connect_ex"):
        original = getattr(socket.socket, method)

        def guarded(self: socket.socket, address: object, _original: object = original) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
                host = str(address[0])
                if not _is_loopback(host):
                    pytest.fail(f"a test connects to {host}: only loopback and unix sockets are allowed")
            return _original(self, address)  # type: ignore[operator]

        patch.setattr(socket.socket, method, guarded)
    yield
    patch.undo()


MINIO_REQUIRED = "AMDA_TEST_MINIO_REQUIRED"
RESTIC_REQUIRED = "AMDA_TEST_RESTIC_REQUIRED"
CHROMIUM_REQUIRED = "AMDA_TEST_CHROMIUM_REQUIRED"
TMUX_REQUIRED = "AMDA_TEST_TMUX_REQUIRED"
"""Set by continuous integration: what needs a MinIO server, restic, a browser or tmux must run."""
CHROMIUM = "AMDA_TEST_CHROMIUM"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """The one that the environment names, otherwise one on PATH."""
    return os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def _missing() -> dict[str, str]:
    """Marks of tests that cannot run here, and what they lack."""
    missing = {}
    program = find_minio()
    if not os.environ.get(MINIO_REQUIRED) and (program is None or not os.access(program, os.X_OK)):
        missing["minio"] = "no MinIO server"
    if not os.environ.get(RESTIC_REQUIRED) and shutil.which("restic") is None:
        missing["restic"] = "no restic"
    if not os.environ.get(CHROMIUM_REQUIRED) and find_chromium() is None:
        missing["browser"] = "no Chromium"
    if not os.environ.get(TMUX_REQUIRED) and shutil.which("tmux") is None:
        missing["tmux"] = "no tmux"
    return missing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without MinIO, restic, Chromium or tmux their tests are not run, which is said by name; they do not pass."""
    for mark, reason in _missing().items():
        for item in items:
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=f"{reason} (./run-tests --help)"))


@pytest.fixture(scope="session")
def chromium() -> str:
    program = find_chromium()
    assert program is not None, f"{CHROMIUM_REQUIRED} is set, and there is no Chromium"
    return program


_left_by: dict[threading.Thread, str] = {}
_left_in_workers: dict[str, str] = {}
"""The same of the processes among which pytest-xdist shares the tests out."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Note which test a thread outlived; a fixture of a wider scope may still end it."""
    yield
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            _left_by.setdefault(thread, item.nodeid)


def _leaked() -> dict[str, str]:
    return {thread.name: test for thread, test in _left_by.items() if thread.is_alive()} | _left_in_workers


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["leaked"] = _leaked()


class _Workers:
    """What this process is told by those that run the tests for it."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        _left_in_workers.update(getattr(node, "workeroutput", {}).get("leaked", {}))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Workers())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not run is said by name, and why: it has not passed."""
    for report in terminalreporter.getreports("skipped"):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        terminalreporter.write_line(f"NOT RUN {report.nodeid}: {reason}", yellow=True)
    for name, test in _leaked().items():
        what = f"FAILED {test}: its thread {name} never ended; what it opened was not closed"
        terminalreporter.write_line(what, red=True)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """A thread that never ends would keep this process for ever: say so in the exit status instead of hanging."""
    if _leaked():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(pytest.ExitCode.TESTS_FAILED)


@pytest.fixture
def ssh_keygen() -> str:
    """The program that makes and checks signatures."""
    if (found := shutil.which("ssh-keygen")) is None:
        pytest.skip("there is no ssh-keygen (openssh-client)")
    return found


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """A program that can play what was stored."""
    found = installed()
    if not found:
        pytest.skip("there is no ffmpeg for this machine, neither on PATH nor as a wheel")
    return found[0]
