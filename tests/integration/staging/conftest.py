"""A staging network in a process of its own, and real engines that talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest_asyncio

from appliance.staging.client import StagingClient, read_info
from appliance.staging.control_types import AddAccount, NetworkInfo

DRIVER = Path(__file__).with_name("engine_driver.py")


class NetworkProcess:
    """`python -m appliance.staging`, which can be killed and started again in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: asyncio.subprocess.Process | None = None
        self.info: NetworkInfo | None = None
        self.client = StagingClient(folder)

    async def start(self) -> None:
        (self.folder / "staging.json").unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "appliance.staging", "--folder", str(self.folder)
        )
        async with asyncio.timeout(30):
            while not (self.folder / "staging.json").exists():
                assert self.process.returncode is None, "the staging network did not start"
                await asyncio.sleep(0.02)
        self.info = read_info(self.folder)
        self.client = StagingClient(self.folder)
        await self.client.__aenter__()

    async def kill(self, number: int = signal.SIGKILL) -> None:
        assert self.process is not None
        await self.client.__aexit__(None, None, None)
        if self.process.returncode is None:
            self.process.send_signal(number)
        await asyncio.wait_for(self.process.wait(), 15)


class Engine:
    """One engine process; `event` waits for what it tells."""

    def __init__(self, network: NetworkProcess, store: Path) -> None:
        self._network = network
        self._store = store
        self._ids = itertools.count(1)
        self._events: list[dict[str, Any]] = []
        self._grown = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> Self:
        info = self._network.info
        assert info is not None
        self._store.mkdir(exist_ok=True)
        read_end, write_end = os.pipe()
        log = (self._store / "engine.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(DRIVER),
            info.library,
            info.proxy_url,
            str(self._store),
            str(write_end),
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[write_end],
            cwd=self._store,
            env=os.environ | {"SSL_CERT_FILE": info.ca_file, "NEONIZE_BOT_TAG": "off"},
        )
        os.close(write_end)
        log.close()
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
        )
        self._reader = asyncio.get_running_loop().create_task(self._read(reader))
        await self.event("started")
        return self

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            async with self._grown:
                self._events.append(json.loads(line))
                self._grown.notify_all()

    async def event(self, name: str, timeout: float = 20, **data: Any) -> dict[str, Any]:
        """The first event of that name and data that was not asked for before; waits for it."""

        def take() -> dict[str, Any] | None:
            for index, event in enumerate(self._events):
                if event["event"] == name and all(event.get(key) == value for key, value in data.items()):
                    return self._events.pop(index)
            return None

        async with asyncio.timeout(timeout), self._grown:
            while (found := take()) is None:
                await self._grown.wait()
            return found

    def seen(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self._events if event["event"] == name]

    async def call(self, do: str, timeout: float = 30, **data: Any) -> Any:
        """Run a command; raises RuntimeError with what the engine raised."""
        assert self.process is not None
        assert self.process.stdin is not None
        number = next(self._ids)
        self.process.stdin.write(json.dumps({"id": number, "do": do, **data}).encode() + b"\n")
        answer = await self.event("answer", timeout, id=number)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer.get("result")

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        if self._reader is not None:
            await self._reader

    # ---- what most tests begin with

    async def link_by_code(self, phone: str) -> None:
        await self.call("connect")
        await self.event("qr")
        code = await self.call("pair_code", phone=phone)
        result = await self._network.client.type_code(phone, code)
        assert result.outcome == "accepted"
        await self.event("connected")


class Engines:
    def __init__(self, network: NetworkProcess, folder: Path) -> None:
        self._network = network
        self._folder = folder
        self._all: list[Engine] = []

    async def start(self, name: str) -> Engine:
        """Start the engine on the store of that name."""
        engine = await Engine(self._network, self._folder / name).start()
        self._all.append(engine)
        return engine

    async def linked(self, phone: str, name: str = "", **account: Any) -> Engine:
        """Start an engine and link it by code to the account."""
        await self._network.client.add_account(AddAccount(phone=phone, **account))
        engine = await self.start(name or phone)
        await engine.link_by_code(phone)
        return engine

    async def stop(self) -> None:
        for engine in self._all:
            await engine.kill()


@pytest_asyncio.fixture
async def network(tmp_path: Path) -> AsyncIterator[NetworkProcess]:
    process = NetworkProcess(tmp_path / "staging")
    process.folder.mkdir()
    await process.start()
    yield process
    with contextlib.suppress(ProcessLookupError):
        await process.kill(signal.SIGTERM)


@pytest_asyncio.fixture
async def engines(network: NetworkProcess, tmp_path: Path) -> AsyncIterator[Engines]:
    engines = Engines(network, tmp_path)
    yield engines
    await engines.stop()
