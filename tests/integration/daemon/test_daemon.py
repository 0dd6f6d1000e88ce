"""The daemon as a process: what it refuses to start on, and what it starts without."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.client import ApiError, ApplianceClient
from appliance.migrations import MIGRATIONS
from appliance.sockets import wait_connectable


async def start(folder: Path) -> asyncio.subprocess.Process:
    (folder / "run").mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "daemon"),
        env={**kept, "AMDA_PATHS_STATE_DIR": str(folder)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(folder)
    try:
        await wait_connectable(folder / "run" / "api.sock", 30)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.communicate()


async def refused(folder: Path) -> str:
    process = await start(folder)
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    assert process.returncode == 4
    [line] = [line for line in err.decode().splitlines() if line.startswith("amda: ")]
    assert "Traceback" not in err.decode()
    return line


async def test_starts_without_redis_and_fork_server_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as process, ApplianceClient(tmp_path / "run" / "api.sock") as client:
        ready = await client.readiness()
        assert not ready.ready
        assert {part.part for part in ready.degraded} == {"redis", "forkserver"}
        await client.create_session("one")
        with pytest.raises(ApiError, match="Redis is not running") as caught:
            await client.pair("one", phone="+221771234512")
        assert caught.value.problem.status == 503
        process.terminate()
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    assert not (tmp_path / "run" / "api.sock").exists()


async def test_what_was_committed_is_there_after_a_kill(tmp_path: Path) -> None:
    for expected in ([], ["one"]):
        async with running(tmp_path) as process, ApplianceClient(tmp_path / "run" / "api.sock") as client:
            assert [view.id for view in await client.sessions()] == expected
            if not expected:
                await client.create_session("one")
            process.send_signal(signal.SIGKILL)
            await process.wait()


async def test_second_daemon_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as process:
        line = await refused(tmp_path)
        assert f"another daemon (process {process.pid})" in line
        assert "stop it" in line


async def test_newer_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "amda.db")
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    connection.close()
    assert "newer release" in await refused(tmp_path)


async def test_damaged_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "amda.db").write_bytes(b"no database at all" * 200)
    assert "restore a backup" in await refused(tmp_path)
