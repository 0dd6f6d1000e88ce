"""systemd's notification protocol, against a socket that listens as systemd does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from appliance.notify import ServiceManager


def test_messages_arrive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        ours = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        ours.ready()
        ours.status("3 sessions")
        ours.stopping()
        assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"STATUS=3 sessions", b"STOPPING=1"]
        assert ours.watchdog_s is None


async def test_watchdog_beats_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0amda-test-{os.getpid()}")
        manager.settimeout(0)
        ours = ServiceManager({"NOTIFY_SOCKET": f"@amda-test-{os.getpid()}", "WATCHDOG_USEC": "60000"})
        beating = asyncio.create_task(ours.keep_alive())
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.timeout(5):
            for _ in range(4):
                assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
        beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beating
        assert loop.time() - begun >= 3 * 0.02 * 0.9


async def test_silent_without_a_manager_or_for_another_process(tmp_path: Path) -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    other = ServiceManager({"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    assert other.watchdog_s is None
    await other.keep_alive()
