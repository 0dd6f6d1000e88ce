"""Unix sockets on long paths, stale files, and the bounds of the line protocol."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.protocol import MAX_LINE_BYTES, Ack, Command, Probe, ToWorker, Welcome
from appliance.sockets import (
    LineBuffer,
    LineStream,
    PeerError,
    bind_unix,
    connect_unix,
    encode_line,
    open_lines,
    peer_credentials,
    remove_socket,
    serve_lines,
    wait_connectable,
)

DECODER: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    folder = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 8)
    folder.mkdir(parents=True)
    assert len(os.fsencode(folder)) > 200
    return folder / "control.sock"


def test_long_path(deep: Path) -> None:
    with bind_unix(deep) as server, connect_unix(deep) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
            assert peer_credentials(accepted) == (os.getpid(), os.getuid(), os.getgid())
    assert [entry.name for entry in deep.parent.iterdir()] == ["control.sock"]


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_mode_is_exact_whatever_the_umask(deep: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        with bind_unix(deep, mode=mode):
            assert stat.S_IMODE(deep.stat().st_mode) == mode
    finally:
        os.umask(before)


def test_stale_socket_is_replaced_and_a_living_one_is_not(deep: Path) -> None:
    bind_unix(deep).close()
    with pytest.raises(PeerError, match="nobody listens"):
        connect_unix(deep)
    with bind_unix(deep), pytest.raises(PeerError, match="another process listens"):
        bind_unix(deep)


def test_a_file_in_the_way_stays(deep: Path) -> None:
    deep.write_text("precious")
    with pytest.raises(PeerError, match="not a socket"):
        bind_unix(deep)
    remove_socket(deep)
    assert deep.read_text() == "precious"


def test_missing_and_too_long(deep: Path) -> None:
    with pytest.raises(PeerError, match="no such socket"):
        connect_unix(deep)
    with pytest.raises(PeerError, match="no such socket"):
        connect_unix(deep.parent / "nowhere" / "x.sock")
    with pytest.raises(PeerError, match="1 to 80 bytes"):
        bind_unix(deep.with_name("x" * 81))


def test_full_backlog_is_an_error_not_a_wait(deep: Path) -> None:
    with bind_unix(deep, backlog=0), connect_unix(deep), pytest.raises(PeerError, match="backlog is full"):
        connect_unix(deep)


def test_remove_socket(deep: Path) -> None:
    bind_unix(deep).close()
    remove_socket(deep)
    assert not deep.exists()
    remove_socket(deep)


async def echo(stream: LineStream[ToWorker]) -> None:
    async for message in stream:
        await stream.send(message)


async def test_round_trip(deep: Path) -> None:
    server = await serve_lines(bind_unix(deep), DECODER, echo)
    async with server:
        stream = await open_lines(deep, DECODER)
        assert stream.credentials.pid == os.getpid()
        for message in (Welcome(protocol=1, daemon="d"), Command(id=1, body=Probe()), Ack(seq=7)):
            await stream.send(message)
            assert await stream.receive() == message
        stream.close()
        await stream.wait_closed()
        with pytest.raises(PeerError, match="gone"):
            stream.post(Ack(seq=8))


async def test_end_of_stream_and_its_breaches(deep: Path) -> None:
    listener = bind_unix(deep)

    async def answers(data: bytes) -> ToWorker | None:
        stream = await open_lines(deep, DECODER)
        peer, _ = await asyncio.to_thread(listener.accept)

        def send() -> None:
            peer.sendall(data)
            peer.close()

        sending = asyncio.create_task(asyncio.to_thread(send))
        try:
            return await stream.receive()
        finally:
            stream.abort()
            await asyncio.wait([sending])

    assert await answers(b"") is None
    assert await answers(encode_line(Ack(seq=1))) == Ack(seq=1)
    for data, complaint in [
        (b'{"type":"ack"', "middle of a line"),
        (b'{"type":"ack","seq":"one"}\n', "protocol allows"),
        (b'{"type":"unknown"}\n', "protocol allows"),
        (b"\xff\xfe\n", "protocol allows"),
    ]:
        with pytest.raises(PeerError, match=complaint):
            await answers(data)
    listener.close()


async def test_a_line_without_end_is_cut_off(deep: Path) -> None:
    async def flood(stream: LineStream[ToWorker]) -> None:
        stream._writer.write(b"x" * (MAX_LINE_BYTES + 2))
        await stream.receive()

    server = await serve_lines(bind_unix(deep), DECODER, flood)
    async with server:
        stream = await open_lines(deep, DECODER)
        with pytest.raises(PeerError, match="more than"):
            await stream.receive()
        stream.abort()


def test_too_long_a_message_is_not_sent() -> None:
    with pytest.raises(PeerError, match="Welcome"):
        encode_line(Welcome(protocol=1, daemon="x" * MAX_LINE_BYTES))


@given(lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=20), cut=st.integers(1, 50))
def test_buffer_is_indifferent_to_how_data_is_cut(lines: list[bytes], cut: int) -> None:
    data = b"".join(line + b"\n" for line in lines)
    buffer = LineBuffer()
    received = [line for start in range(0, len(data), cut) for line in buffer.feed(data[start : start + cut])]
    assert received == lines


def test_buffer_bound() -> None:
    buffer = LineBuffer(limit=10)
    assert buffer.feed(b"123456789") == []
    with pytest.raises(PeerError, match="more than 10"):
        buffer.feed(b"0")


async def test_waiting_for_a_listener(deep: Path) -> None:
    bind_unix(deep).close()
    waiting = asyncio.create_task(wait_connectable(deep, 10))
    await asyncio.sleep(0)
    with bind_unix(deep):
        await waiting
        await wait_connectable(deep, 10)
    with pytest.raises(PeerError, match=r"after 0.01 s"):
        await wait_connectable(deep, 0.01)
    with pytest.raises(PeerError, match="cannot be watched"):
        await wait_connectable(deep.parent / "missing" / "x.sock", 1)
