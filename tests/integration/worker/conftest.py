"""The real engine against the staging network: a network process for the module, a worker process per test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import pytest_asyncio

from appliance.protocol import (
    Ack,
    CaptureSettings,
    Command,
    CommandBody,
    Event,
    FromWorker,
    Heartbeat,
    Hello,
    Paired,
    PairShown,
    Reply,
    Signal,
    SignalKind,
    SpoolItem,
    Welcome,
    WorkerMode,
    WorkerSpec,
)
from appliance.sockets import LineStream, PeerError, open_lines
from appliance.staging.client import StagingClient, read_info
from appliance.staging.control_types import AddAccount, NetworkInfo

READY_S = 20.0
DECODER = msgspec.json.Decoder(FromWorker)
B = TypeVar("B")


class StagingProcess:
    """One staging network in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> NetworkInfo:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "appliance.staging", "--folder", str(self.folder)
        )
        async with asyncio.timeout(READY_S):
            while not (self.folder / "staging.json").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # written by another process: there is no event to wait for
        return read_info(self.folder)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await asyncio.wait_for(self._process.wait(), READY_S)


class WorkerProcess:
    """A worker started by the plain launcher, and the daemon's end of its control socket."""

    def __init__(self, spec: WorkerSpec, info: NetworkInfo) -> None:
        self.spec = spec
        self.folder = Path(spec.store_folder)
        self._info = info
        self._process: asyncio.subprocess.Process | None = None
        self._stream: LineStream[FromWorker] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._commands = 0
        self.acknowledge = True
        self.hello: Hello | None = None
        self.events: list[Event] = []
        self.beats: list[Heartbeat] = []
        self.replies: dict[int, Reply] = {}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, *, connect: bool = True) -> None:
        environment = dict(
            os.environ,
            SSL_CERT_FILE=self._info.ca_file,
            GOMEMLIMIT="20MiB",
            MALLOC_TRIM_THRESHOLD_="131072",
            MALLOC_MMAP_THRESHOLD_="131072",
            MALLOC_ARENA_MAX="2",
            NEONIZE_BOT_TAG="off",
        )
        with (self.folder / "worker.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "appliance.worker"),
                env=environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(self.spec))
        self._process.stdin.close()
        if connect:
            await self.connect()

    async def connect(self) -> Hello:
        """As a daemon that was restarted: a new connection, all events that it has not acknowledged."""
        async with asyncio.timeout(READY_S):
            while True:
                with contextlib.suppress(PeerError):
                    self._stream = await open_lines(self.folder / "control.sock", DECODER)
                    hello = await self._stream.receive()
                    if isinstance(hello, Hello) and hello.pid == self.pid:
                        break
                assert self._process is not None
                assert self._process.returncode is None, (self.folder / "worker.log").read_text()
                await asyncio.sleep(0.02)  # the socket is made by another process: there is no event to wait for
        self.hello = hello
        await self._stream.send(Welcome(protocol=hello.protocol, daemon="test"))
        self._reader = asyncio.create_task(self._read(self._stream))
        return hello

    async def _read(self, stream: LineStream[FromWorker]) -> None:
        with contextlib.suppress(PeerError):
            async for message in stream:
                async with self._changed:
                    if isinstance(message, Event):
                        self.events.append(message)
                        if self.acknowledge:
                            await stream.send(Ack(seq=message.seq))
                    elif isinstance(message, Heartbeat):
                        self.beats.append(message)
                    elif isinstance(message, Reply):
                        self.replies[message.id] = message
                    self._changed.notify_all()

    async def until(self, condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: bool(condition()))

    async def command(self, body: CommandBody, timeout_s: float = 60.0) -> Reply:
        assert self._stream is not None
        self._commands += 1
        number = self._commands
        await self._stream.send(Command(id=number, body=body))
        await self.until(lambda: number in self.replies, timeout_s)
        return self.replies[number]

    def bodies(self, kind: type[B]) -> list[B]:
        return [event.body for event in self.events if isinstance(event.body, kind)]

    async def event(self, kind: type[B], timeout_s: float = 30.0, *, after: int = 0) -> B:
        """The first event of a kind after the first `after` of them."""
        await self.until(lambda: len(self.bodies(kind)) > after, timeout_s)
        return self.bodies(kind)[after]

    async def signal(self, kind: SignalKind, timeout_s: float = 30.0, *, after: int = 0) -> Signal:
        def found() -> list[Signal]:
            return [body for body in self.bodies(Signal) if body.kind is kind]

        await self.until(lambda: len(found()) > after, timeout_s)
        return found()[after]

    def spooled(self) -> dict[str, tuple[SpoolItem, bytes]]:
        """Message id → item and data of everything complete in the spool."""
        found = {}
        for path in (self.folder / "spool").glob("*.json"):
            item = msgspec.json.decode(path.read_bytes(), type=SpoolItem)
            found[item.message_id] = (item, path.with_suffix(".data").read_bytes())
        return found

    async def exit_status(self, timeout_s: float = 20.0) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), timeout_s)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    async def stop(self) -> int:
        if self._process is None or self._process.returncode is not None:
            return 0 if self._process is None else self._process.returncode or 0
        self._process.terminate()
        try:
            return await self.exit_status()
        except TimeoutError:
            self.kill()
            raise
        finally:
            if self._reader is not None:
                self._reader.cancel()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NetworkInfo]:
    process = StagingProcess(tmp_path_factory.mktemp("network"))
    info = await process.start()
    yield info
    await process.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def staging(network: NetworkInfo) -> AsyncIterator[StagingClient]:
    async with StagingClient(Path(network.control_socket).parent) as client:
        yield client


@pytest.fixture
def make_spec(network: NetworkInfo, tmp_path: Path) -> Callable[..., WorkerSpec]:
    def make(mode: WorkerMode = WorkerMode.PAIR, **changes: object) -> WorkerSpec:
        session = tmp_path / "sessions" / "anna"
        store = session / "store-1"
        store.mkdir(parents=True, exist_ok=True)
        base = WorkerSpec(
            session="anna",
            generation=1,
            mode=mode,
            session_folder=str(session),
            store_folder=str(store),
            engine_library=network.library,
            staging=True,
            proxy=network.proxy_url,
            capture=CaptureSettings(),
            heartbeat_s=0.5,
            readable=(str(Path(network.library).parent),),
        )
        return msgspec.structs.replace(base, **changes)

    return make


@pytest_asyncio.fixture(loop_scope="module")
async def start_worker(network: NetworkInfo) -> AsyncIterator[Callable[..., object]]:
    running: list[WorkerProcess] = []

    async def start(spec: WorkerSpec, *, connect: bool = True) -> WorkerProcess:
        worker = WorkerProcess(spec, network)
        running.append(worker)
        await worker.start(connect=connect)
        return worker

    yield start
    for worker in running:
        await worker.stop()


_numbers = iter(range(100))


@pytest.fixture
def phone() -> str:
    """A number that no other test uses."""
    return f"4915112345{next(_numbers):02d}0"


@pytest_asyncio.fixture(loop_scope="module")
async def linked(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> WorkerProcess:
    """A worker that has just been linked by code and is online."""
    from appliance.protocol import PairByCode

    await staging.add_account(AddAccount(phone=phone))
    worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
    assert (await worker.command(PairByCode(phone=phone))).error is None
    shown = await worker.event(PairShown)
    await staging.type_code(phone, shown.value)
    await worker.event(Paired)
    await worker.signal(SignalKind.CONNECTED)
    return worker
