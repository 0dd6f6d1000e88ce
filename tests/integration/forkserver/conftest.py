"""A fork server in a process of its own, a client connected to it, and what the tests wait for."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.forkserver.client import ForkEvent, ForkServerClient
from appliance.forkserver.environment import missing_from
from appliance.protocol import Exited, WorkerMode, WorkerSpec

ROOT = Path(__file__).parents[3]
STAND_IN = Path(__file__).with_name("stand_in.py")
WAIT_S = 20.0
STOP_GRACE_S = "1"


class Bed:
    """Everything that a test needs, in a folder of its own."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process, client: ForkServerClient) -> None:
        self.folder = folder
        self.process = process
        self.client = client
        self._events = client.events()

    @property
    def socket(self) -> Path:
        return self.folder / "fork.sock"

    def spec(self, session: str, store: str = "s1", mode: WorkerMode = WorkerMode.RUN) -> WorkerSpec:
        folder = self.folder / "sessions" / session / store
        folder.mkdir(parents=True, exist_ok=True)
        return WorkerSpec(
            session=session,
            generation=1,
            mode=mode,
            session_folder=str(folder.parent),
            store_folder=str(folder),
            engine_library="/nonexistent",
        )

    async def spawn(self, session: str, store: str = "s1", mode: WorkerMode = WorkerMode.RUN) -> int:
        """Fork a worker and wait until its own code runs."""
        spec = self.spec(session, store, mode)
        pid = await self.client.spawn(spec)
        await appears(Path(spec.store_folder) / "ready")
        return pid

    async def event(self) -> ForkEvent:
        async with asyncio.timeout(WAIT_S):
            return await anext(self._events)

    async def exit(self) -> Exited:
        while not isinstance(event := await self.event(), Exited):
            pass
        return event


def filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def appears(path: Path) -> None:
    """Wait for a file of another process; the bound is what makes a missing one fail."""
    async with asyncio.timeout(WAIT_S):
        while not filled(path):  # noqa: ASYNC110 (a file of another process sends no event)
            await asyncio.sleep(0.01)


async def start(folder: Path, release: str = "1.0", *options: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, **missing_from(os.environ), "PYTHONPATH": str(ROOT), "AMDA_TEST_SOCKETS": str(folder)}
    with (folder / "forkserver.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            STAND_IN,
            release,
            "--socket",
            folder / "fork.sock",
            "--stop-grace",
            STOP_GRACE_S,
            env=environment,
            stderr=log,
        )


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    process = await start(tmp_path)
    async with ForkServerClient(tmp_path / "fork.sock") as client:
        await client.wait_connected(WAIT_S)
        yield Bed(tmp_path, process, client)
    if process.returncode is None:
        process.kill()
        await process.wait()


@pytest.fixture
def interpreter(tmp_path: Path) -> Callable[[str, str], str]:
    """Makes a program that passes for the interpreter of another release."""

    def make(release: str, setting: str = "") -> str:
        script = tmp_path / f"python-{release}"
        script.write_text(
            f'#!/bin/sh\n{setting} PYTHONPATH="{ROOT}" exec "{sys.executable}" "{STAND_IN}" {release} "$@"\n', "utf-8"
        )
        script.chmod(0o700)
        return str(script)

    return make
