"""The whole appliance under one process: it comes up, heals, refuses a second one, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from appliance import redis_server
from appliance.children import package_environment
from appliance.config import Settings, load_settings
from appliance.embedded import AlreadyRunningError, EmbeddedAppliance, EmbeddedError, settings_text
from appliance.processes import ProcessId, children_of, identify, is_running
from appliance.sockets import wait_connectable

WAIT_S = 60.0
PARTS = {"daemon", "forkserver", "redis"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "given.toml"
    config.write_text(f'[paths]\nstate_dir = "{tmp_path / "state"}"\n', "utf-8")
    return load_settings(config, {})


def sockets_in(settings: Settings) -> list[str]:
    return [path.name for path in settings.paths.run_dir.iterdir() if path.is_socket()]


async def test_life_of_an_appliance(settings: Settings) -> None:
    async with asyncio.timeout(WAIT_S):
        async with EmbeddedAppliance(settings) as appliance:
            assert set(appliance.pids()) == PARTS
            await wait_connectable(appliance.api_socket, 1)
            processes = [identify(pid) for pid in appliance.pids().values()]
            with pytest.raises(AlreadyRunningError, match=rf"process {os.getpid()}\) works on /"):
                await EmbeddedAppliance(settings).start()
            assert all(map(is_running, processes)), "the second one did not touch the first"
        assert not any(map(is_running, processes))
        assert sockets_in(settings) == []
        assert appliance.pids() == {}
        async with EmbeddedAppliance(settings):
            pass


async def test_every_part_heals_alone(settings: Settings) -> None:
    async with asyncio.timeout(WAIT_S), EmbeddedAppliance(settings) as appliance:
        for part in sorted(PARTS):
            before = appliance.pids()
            await appliance.kill(part)
            await appliance.wait_ready(part)
            after = appliance.pids()
            assert {name for name in PARTS if before[name] != after[name]} == {part}
        before = appliance.pids()
        await appliance.restart_daemon()
        await wait_connectable(appliance.api_socket, 1)
        assert {name for name in PARTS if before[name] != appliance.pids()[name]} == {"daemon"}


async def run_command(settings: Settings) -> tuple[asyncio.subprocess.Process, list[ProcessId]]:
    """`amda run` in a process of its own, and its parts."""
    config = settings.paths.state_dir.parent / "given.toml"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "appliance", "run", "--config", str(config)),
        env=package_environment(os.environ),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    while b"The appliance runs" not in (line := await process.stdout.readline()):
        assert line, "it ended before it ran"
    return process, [identify(pid) for pid in children_of(process.pid)]


async def gone(processes: list[ProcessId]) -> None:
    """Until the kernel has ended them."""
    loop = asyncio.get_running_loop()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(process.pid)
            ended = asyncio.Event()
            loop.add_reader(fd, ended.set)
            if is_running(process):
                await ended.wait()
            loop.remove_reader(fd)
            os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order(settings: Settings, number: signal.Signals) -> None:
    async with asyncio.timeout(WAIT_S):
        process, parts = await run_command(settings)
        assert len(parts) == len(PARTS)
        process.send_signal(number)
        assert await process.wait() == 0
        assert not any(map(is_running, parts))
        assert sockets_in(settings) == []


async def test_killed_outright_it_takes_all_with_it_and_starts_again(settings: Settings) -> None:
    async with asyncio.timeout(WAIT_S):
        process, parts = await run_command(settings)
        process.kill()
        await process.wait()
        await gone(parts)
        async with EmbeddedAppliance(settings) as appliance:
            assert set(appliance.pids()) == PARTS


async def test_a_signal_during_the_start_leaves_nothing(settings: Settings) -> None:
    async with asyncio.timeout(WAIT_S):
        appliance = EmbeddedAppliance(settings)
        running = asyncio.create_task(appliance.run(lambda: pytest.fail("it must not get ready")))
        while not appliance.pids():  # noqa: ASYNC110 (a moment in the middle of a start has no event)
            await asyncio.sleep(0)
        processes = [identify(pid) for pid in appliance.pids().values()]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == signal.SIGTERM
        assert not any(map(is_running, processes))
        assert sockets_in(settings) == []


async def test_without_redis_the_rest_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "find_server", lambda: None)
    async with asyncio.timeout(WAIT_S), EmbeddedAppliance(settings) as appliance:
        assert set(appliance.pids()) == PARTS - {"redis"}
        await wait_connectable(appliance.api_socket, 1)


async def test_a_staging_network_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "given.toml"
    text = f'[paths]\nstate_dir = "{tmp_path / "state"}"\n[network]\nstaging = "{tmp_path / "staging"}"\n'
    config.write_text(text, "utf-8")
    with pytest.raises(EmbeddedError, match="no staging network has been started"):
        await EmbeddedAppliance(load_settings(config, {})).start()


def test_settings_survive_the_way_to_the_daemon(tmp_path: Path, settings: Settings) -> None:
    odd = tmp_path / 'a "quoted" \\ folder é'
    first = load_settings(None, {"AMDA_CONFIG": str(tmp_path / "given.toml"), "AMDA_PATHS_STATE_DIR": str(odd)})
    again = tmp_path / "again.toml"
    again.write_text(settings_text(first), "utf-8")
    assert load_settings(again, {}) == first
