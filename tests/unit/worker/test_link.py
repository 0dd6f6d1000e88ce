"""The control socket as a daemon sees it, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest_asyncio

from appliance.protocol import (
    PROTOCOL_VERSION,
    Ack,
    Command,
    EngineState,
    Event,
    FromWorker,
    Heartbeat,
    Hello,
    Probe,
    Reply,
    Spooled,
    Welcome,
    WorkerMode,
)
from appliance.sockets import LineStream, open_lines
from appliance.worker.link import DaemonLink
from appliance.worker.store import CaptureStore

DECODER = msgspec.json.Decoder(FromWorker)
BEAT = Heartbeat(
    at=1.0,
    engine_state=EngineState.CONNECTED,
    loop_lag_s=0.0,
    pss_bytes=1,
    last_frame_at=None,
    last_message_at=None,
    ping_sent_at=None,
    ping_answered_at=None,
    inbox=0,
)


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = CaptureStore(folder)
        self.store.open(1)
        self.commands: list[Command] = []
        self.welcomes: list[Welcome] = []
        self.link = DaemonLink(
            store_folder=folder,
            store=self.store,
            hello=self._hello,
            on_command=self._on_command,
            on_welcome=self.welcomes.append,
            write_log=lambda *_: None,
        )

    def _hello(self) -> Hello:
        return Hello(
            protocol=PROTOCOL_VERSION,
            session="a",
            generation=1,
            store_folder=str(self.folder),
            mode=WorkerMode.RUN,
            pid=1,
            started_at=0.0,
            engine="0",
            engine_state=EngineState.CONNECTED,
            connected_at=None,
            sandbox="full",
            oldest_event=self.store.oldest_event(),
        )

    async def _on_command(self, command: Command) -> Reply:
        self.commands.append(command)
        return Reply(id=command.id, data={"ok": True})

    async def daemon(self, *, welcome: bool = True) -> LineStream[FromWorker]:
        stream = await open_lines(self.folder / "control.sock", DECODER)
        assert isinstance(await receive(stream), Hello)
        if welcome:
            await stream.send(Welcome(protocol=PROTOCOL_VERSION, daemon="d"))
        return stream


async def receive(stream: LineStream[FromWorker]) -> FromWorker | None:
    async with asyncio.timeout(10):
        return await stream.receive()


@pytest_asyncio.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    await harness.link.start()
    yield harness
    await harness.link.close()
    harness.store.close()


def spooled(message: FromWorker | None) -> tuple[int, str]:
    assert isinstance(message, Event)
    assert isinstance(message.body, Spooled)
    return message.seq, message.body.item


async def test_events_are_repeated_until_acknowledged(harness: Harness) -> None:
    harness.link.emit(Spooled(item="a"))
    first = await harness.daemon()
    assert spooled(await receive(first)) == (1, "a")
    harness.link.emit(Spooled(item="b"))
    assert spooled(await receive(first)) == (2, "b")
    await first.send(Ack(seq=1))
    await first.send(Command(id=1, body=Probe()))
    assert await receive(first) == Reply(id=1, data={"ok": True})
    second = await harness.daemon()
    assert spooled(await receive(second)) == (2, "b")
    assert harness.store.oldest_event() == 2


async def test_new_connection_replaces_the_older_one(harness: Harness) -> None:
    first = await harness.daemon()
    second = await harness.daemon()
    harness.link.emit(Spooled(item="a"))
    assert spooled(await receive(second)) == (1, "a")
    harness.link.beat(BEAT)
    assert await receive(second) == BEAT
    assert await _ended(first)


async def _ended(stream: LineStream[FromWorker]) -> bool:
    try:
        return await receive(stream) is None
    except Exception as error:
        return "broke" in str(error)


async def test_nothing_is_sent_before_the_welcome(harness: Harness) -> None:
    harness.link.emit(Spooled(item="a"))
    stream = await harness.daemon(welcome=False)
    harness.link.beat(BEAT)
    await stream.send(Welcome(protocol=PROTOCOL_VERSION, daemon="d"))
    assert spooled(await receive(stream)) == (1, "a")


async def test_peer_that_says_something_else_is_left(harness: Harness) -> None:
    stream = await harness.daemon(welcome=False)
    await stream.send(Ack(seq=1))
    assert await receive(stream) is None


async def test_drained_waits_for_the_acknowledgement(harness: Harness) -> None:
    assert await harness.link.drained(1.0)
    harness.link.emit(Spooled(item="a"))
    assert not await harness.link.drained(0.01)
    stream = await harness.daemon()
    seq, _ = spooled(await receive(stream))
    waiting = asyncio.create_task(harness.link.drained(10.0))
    await stream.send(Ack(seq=seq))
    assert await waiting


async def test_socket_goes_with_the_worker(harness: Harness) -> None:
    await harness.link.close()
    assert not (harness.folder / "control.sock").exists()
