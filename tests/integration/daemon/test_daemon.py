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
from appliance.minio_server import MinioServer
from appliance.sockets import wait_connectable


async def start(folder: Path, **variables: str) -> asyncio.subprocess.Process:
    (folder / "run").mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "daemon"),
        env={**kept, "AMDA_PATHS_STATE_DIR": str(folder), **variables},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(folder: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(folder, **variables)
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


async def _media_trouble(client: ApplianceClient) -> str:
    return next((part.reason for part in (await client.readiness()).degraded if part.part == "media"), "")


@pytest.mark.minio
async def test_starts_without_its_s3_server_says_so_and_uses_it_when_it_is_there(tmp_path: Path) -> None:
    server = MinioServer(tmp_path / "minio")
    await server.start()
    await server.stop()
    variables = {
        "AMDA_STORAGE_KIND": "s3",
        "AMDA_STORAGE_ENDPOINT": server.endpoint,
        "AMDA_STORAGE_CREDENTIALS": str(server.credentials_file),
        "AMDA_STORAGE_PRUNE_INTERVAL_S": "1",  # the store is looked at as often
    }
    async with running(tmp_path, **variables), ApplianceClient(tmp_path / "run" / "api.sock") as client:
        async with asyncio.timeout(40):
            await anext(client.events(after=0, kind="storage.away"))
            assert "does not answer: Connection refused" in await _media_trouble(client)
            assert (await client.storage()).used == 0, "what the index knows is told even so"
            await server.start()
            await anext(client.events(after=0, kind="storage.back"))
            assert await _media_trouble(client) == ""
    await server.stop()


async def test_s3_without_its_settings_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    process = await start(tmp_path, AMDA_STORAGE_KIND="s3")
    async with asyncio.timeout(30):
        _, err = await process.communicate()
    assert process.returncode == 2
    assert "storage: endpoint is missing, and S3 needs it; remedy: set storage.endpoint" in err.decode()
