"""The private Redis: durable, bounded, reachable below any folder; a damaged file is told and left alone."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError

from appliance import redis_server
from appliance.pairing.redis_client import RedisClient
from appliance.processes import identify, is_running
from appliance.redis_server import RedisDamagedError, RedisError, RedisMissingError, RedisServer


class Bed:
    def __init__(self, folder: Path) -> None:
        self.state = folder
        self.socket = folder / "run" / "redis.sock"
        self.log: list[str] = []
        self.server = RedisServer(folder=folder / "redis", socket=self.socket, log=self.log.append)

    async def command(self, *words: str | int) -> object:
        redis = RedisClient(f"unix://{self.socket}")
        try:
            answer: object = await redis.client.execute_command(*words)  # type: ignore[no-untyped-call]
            return answer
        finally:
            await redis.close()


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    bed = Bed(tmp_path)
    yield bed
    await bed.server.stop()


async def test_life_and_memory(bed: Bed) -> None:
    await bed.server.start()
    assert bed.server.pid
    process = identify(bed.server.pid)
    await bed.command("SET", "key", "value")
    assert stat.S_IMODE(bed.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE((bed.state / "redis").stat().st_mode) == 0o700
    await bed.server.stop()
    assert not is_running(process)
    assert not bed.socket.exists()
    await bed.server.start()
    assert await bed.command("GET", "key") == "value"


async def test_memory_is_bounded_and_nothing_is_evicted(bed: Bed) -> None:
    await bed.server.start()
    await bed.command("SET", "lock", "mine")
    await asyncio.gather(*(bed.command("SET", f"large-{number}", "x" * (1 << 20)) for number in range(30)))
    with pytest.raises(OutOfMemoryError):
        await asyncio.gather(*(bed.command("SET", f"more-{number}", "x" * (1 << 20)) for number in range(50)))
    assert await bed.command("GET", "lock") == "mine"


async def test_below_a_deep_folder(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 6)
    bed = Bed(deep)
    await bed.server.start()
    assert await bed.command("PING") in ("PONG", True)
    await bed.server.stop()


async def test_an_end_is_noticed(bed: Bed) -> None:
    await bed.server.start()
    assert bed.server.pid
    os.kill(bed.server.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        assert await bed.server.wait() == -signal.SIGKILL
    assert bed.server.pid is None
    await bed.server.start()
    assert bed.server.pid


async def test_a_torn_last_command_is_no_damage(bed: Bed) -> None:
    file = await written(bed)
    file.write_bytes(file.read_bytes()[:-3])
    await bed.server.start()
    assert await bed.command("GET", "key-0") == "value"


async def test_a_damaged_file_is_told_kept_and_can_be_set_aside(bed: Bed) -> None:
    file = await written(bed)
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 30] = b"\xff" * 30
    file.write_bytes(content)
    with pytest.raises(RedisDamagedError, match="append-only file") as raised:
        await bed.server.start()
    assert bed.server.pid is None
    assert file.read_bytes() == content, "nothing was deleted"
    remedy = str(raised.value).rpartition(": ")[2]
    await (await asyncio.create_subprocess_exec(*shlex.split(remedy))).wait()
    await bed.server.start()
    assert await bed.command("DBSIZE") == 0


async def written(bed: Bed) -> Path:
    """The append-only file of a server that has held some keys."""
    await bed.server.start()
    for number in range(20):
        await bed.command("SET", f"key-{number}", "value")
    await bed.server.stop()
    return max((bed.state / "redis").rglob("appendonly.aof*"), key=lambda path: path.is_file() and path.stat().st_size)


async def test_none_installed(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "find_server", lambda: None)
    with pytest.raises(RedisMissingError, match="install redis-server"):
        await bed.server.start()


async def test_a_start_that_fails_says_why(bed: Bed) -> None:
    bed.socket.mkdir(parents=True)
    with pytest.raises(RedisError, match=r"bind|socket"):
        await bed.server.start()


def test_the_wheel_brings_one_where_the_system_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = redis_server.find_server()
    assert found
    assert subprocess.run([found, "--version"], check=True, capture_output=True).stdout
