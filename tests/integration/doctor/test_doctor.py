"""`amda doctor` as a user runs it: with the daemon running, with it down, with settings that nobody can use."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.client import ApiError, ApplianceClient
from appliance.config import Settings, load_settings
from appliance.doctor.checks import ROOMS, names
from appliance.embedded import EmbeddedAppliance, settings_text
from appliance.model_doctor import DoctorReport, Finding, Severity

DONE_S = 90.0
ENVIRONMENT = frozenset(
    {"clock", "memory", "swap", "kernel", "disk", "quota", "ports", "timezone", "processes", "units"}
)
"""Checks of the machine that the tests run on: not ours to say how it is."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    values = {"AMDA_PATHS_STATE_DIR": str(tmp_path / "state"), "AMDA_CAPTURE_MIN_FREE_BYTES": "1048576"}
    made = load_settings(None, {**values, "AMDA_STORAGE_QUOTA_BYTES": "1048576"})
    config = tmp_path / "amda.toml"
    config.write_text(settings_text(made))
    config.chmod(0o600)
    return made


async def amda(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status and what was said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMDA_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "doctor", *arguments, "--config", str(folder / "amda.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    async with asyncio.timeout(DONE_S):
        out, err = await process.communicate()
    assert "Traceback" not in err.decode()
    return process.returncode or 0, out.decode(), err.decode()


async def report(folder: Path, *arguments: str) -> tuple[int, DoctorReport]:
    status, out, err = await amda(folder, *arguments, "--json")
    assert out, err
    return status, msgspec.json.decode(out, type=DoctorReport)


def of(found: DoctorReport, check: str) -> list[Finding]:
    return [one for one in found.findings if one.check == check]


@pytest.fixture
async def appliance(tmp_path: Path, settings: Settings) -> AsyncIterator[EmbeddedAppliance]:
    async with EmbeddedAppliance(settings, config=tmp_path / "amda.toml") as made:
        yield made


async def test_with_the_daemon_running(tmp_path: Path, settings: Settings, appliance: EmbeddedAppliance) -> None:
    status, found = await report(tmp_path)
    assert {one.check for one in found.findings} == {"daemon", *names()}
    wrong = [one for one in found.findings if one.severity.rank >= Severity.WARNING.rank]
    assert {one.check for one in wrong} <= {"backup", *ENVIRONMENT}, "a new appliance is well, but for its backup"
    assert status == {Severity.WARNING: 1, Severity.PROBLEM: 2}[found.worst]
    assert of(found, "daemon")[0].severity is Severity.OK
    assert "0 processes" in of(found, "workers")[0].found
    assert all(one.looked_at and one.found for one in found.findings)
    assert all(one.remedy for one in wrong)

    async with ApplianceClient(appliance.api_socket) as client:
        theirs = await client.doctor()
        assert {one.check for one in theirs.findings} == set(names())
        some = await client.doctor(["parts", "redis"])
        assert {one.check for one in some.findings} == {"parts", "redis"}
        with pytest.raises(ApiError) as refused:
            await client.doctor(["horoscope"])
        assert refused.value.problem.status == 404

    await appliance.kill("redis")
    settings.paths.redis_socket.unlink(missing_ok=True)
    status, text, _ = await amda(tmp_path, "--only", "sockets", "--only", "modes")
    assert status == 0
    assert "well" in text


async def test_with_the_daemon_down(tmp_path: Path, settings: Settings) -> None:
    async with EmbeddedAppliance(settings, config=tmp_path / "amda.toml"):
        pass
    (settings.paths.state_dir / "amda.db").chmod(0o644)
    status, found = await report(tmp_path)
    assert status == 2
    (daemon,) = of(found, "daemon")
    assert daemon.severity is Severity.PROBLEM
    assert "only what can be seen without it was looked at" in daemon.found
    assert {one.check for one in found.findings} == {"daemon", *names()} - ROOMS.keys()
    assert of(found, "database")[0].severity is Severity.OK
    assert of(found, "redis")[0].severity is Severity.PROBLEM
    (modes,) = of(found, "modes")
    assert modes.fix.startswith("chmod 0600")

    status, text, _ = await amda(tmp_path, "--only", "modes", "--fix")
    assert status == 0, "what was put right counts no more"
    assert "fixed    modes" in text
    assert "1 put right just now" in text
    assert (settings.paths.state_dir / "amda.db").stat().st_mode & 0o777 == 0o600


AS_NOBODY = """
import contextlib, io, os, sys
import appliance.cli.app as app
with contextlib.redirect_stdout(io.StringIO()):
    app.run(sys.argv[1:])  # everything is imported: the checkout may be closed to others
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_as_somebody_who_may_use_the_socket_and_as_somebody_who_may_not(
    settings: Settings, open_folder: Path
) -> None:
    """What this user may not see is asked of the daemon; whoever may not ask it is told so, and nothing is a fault."""
    apart = msgspec.structs.replace(settings.paths, run_dir=open_folder / "run")
    config = open_folder / "amda.toml"
    config.write_text(settings_text(msgspec.structs.replace(settings, paths=apart)))
    config.chmod(0o644)
    async with EmbeddedAppliance(load_settings(config, {}), config=config):
        hidden = await as_nobody(config)
        os.chown(apart.run_dir, -1, 65534)
        apart.run_dir.chmod(0o750)
        os.chown(apart.api_socket, -1, 65534)
        seen = await as_nobody(config)
    assert {one.check for one in hidden.findings} == {"daemon", *names()} - ROOMS.keys()
    assert all(one.partial for name in ("daemon", "database", "modes", "redis", "store") for one in of(hidden, name))
    assert (
        hidden.worst is not Severity.PROBLEM
        or {one.check for one in hidden.findings if one.severity is Severity.PROBLEM} <= ENVIRONMENT
    )
    assert {one.check for one in seen.findings} == {"daemon", *names()}
    assert not [one for one in seen.findings if one.partial and one.check not in ENVIRONMENT]
    assert of(seen, "database")[0].found.endswith("whole")


async def as_nobody(config: Path) -> DoctorReport:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AS_NOBODY, "doctor", "--json", "--config", str(config)), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DONE_S):
        out, _ = await process.communicate()
    return msgspec.json.decode(out, type=DoctorReport)


async def test_with_settings_that_nobody_can_use(
    tmp_path: Path, settings: Settings, appliance: EmbeddedAppliance
) -> None:
    """The daemon goes on with those from before, and looks for the command."""
    config = tmp_path / "amda.toml"
    config.write_text(config.read_text() + "\n[nonsense]\n")
    status, found = await report(tmp_path)
    assert status == 2
    assert "section nonsense is not known" in of(found, "settings")[0].found
    assert of(found, "redis")[0].severity is Severity.OK, "seen by the daemon"
    assert {one.check for one in found.findings} == {"daemon", *names()}


async def test_list_and_names(tmp_path: Path, settings: Settings) -> None:
    status, text, _ = await amda(tmp_path, "--list")
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()] == ["daemon", *names()]
    status, out, err = await amda(tmp_path, "--only", "horoscope")
    assert (status, out) == (3, "")
    assert "There is no check horoscope." in err
