"""A daemon in a process of its own with a TCP door: alone, so without Redis and without sessions that run."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil

from appliance.client import ApplianceClient
from appliance.config import load_settings
from appliance.embedded import settings_text
from appliance.minio_server import free_port
from appliance.model_access import AuditEntry
from appliance.sockets import wait_connectable

START_S = 40.0
STOP_S = 20.0
MIB = 1 << 20
OTHERS = ("webhooks_", "limits_")


class DaemonProcess:
    """`client` speaks over the unix socket, `port` is the TCP door's. `settings`: of the section api, or of another if
    the name begins with that: `webhooks_base_s`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        values = {"listen": f"127.0.0.1:{self.port}", **settings}
        environment = {
            f"AMDA_{name if name.startswith(OTHERS) else f'api_{name}'}".upper(): value
            for name, value in values.items()
        }
        self.settings = load_settings(None, {"AMDA_PATHS_STATE_DIR": str(folder), **environment})
        self.client = ApplianceClient(self.settings.paths.api_socket)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        config = self.folder / "amda.toml"
        config.write_text(settings_text(self.settings))
        self.settings.paths.run_dir.mkdir(parents=True, exist_ok=True)
        with (self.folder / "daemon.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "appliance", "daemon", "--config", str(config)), stdout=log, stderr=log
            )
        await wait_connectable(self.settings.paths.api_socket, START_S)

    async def kill(self) -> None:
        """As if the machine had lost its power, but for the disk."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(STOP_S):
            await self._process.wait()

    def memory(self) -> int:
        """Bytes of the process that are its own."""
        assert self._process is not None
        return int(psutil.Process(self._process.pid).memory_full_info().uss)

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    async def refused(self, action: str, address: str | None, at_least: int = 1) -> list[AuditEntry]:
        """What the audit has of one kind (from an address), once there is enough of it."""
        async with asyncio.timeout(30):
            while True:
                found = [one async for one in self.client.all_audit() if one.action == action]
                entries = [one for one in found if address in (None, one.address)]
                if sum(one.count for one in entries) >= at_least:
                    return entries
                await asyncio.sleep(0.2)

    @contextlib.asynccontextmanager
    async def http(self, token: str | None = None) -> AsyncIterator[aiohttp.ClientSession]:
        """A client of the TCP door."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=headers) as session:
            yield session


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[DaemonProcess]:
    daemon = DaemonProcess(folder, **settings)
    await daemon.start()
    try:
        async with daemon.client:
            yield daemon
    finally:
        await daemon.stop()
