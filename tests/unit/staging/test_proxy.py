"""The proxy: tunnels, and what can happen to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from appliance.staging.proxy import Proxy, Tunnel
from appliance.staging.session import client_lives


class Rig:
    """A proxy with an echo behind it."""

    def __init__(self) -> None:
        self.proxy = Proxy(lambda tunnel: not self.refuses(tunnel))
        self.proxy.serve = self.serve
        self.refused = False
        self.port = 0
        self._echoes: set[asyncio.Task[None]] = set()

    def refuses(self, tunnel: Tunnel) -> bool:
        if self.refused:
            tunnel.reset("refuse")
        return self.refused

    async def serve(self, _tunnel: Tunnel, inner: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=inner)
        task = asyncio.get_running_loop().create_task(self.echo(reader, writer))
        self._echoes.add(task)

    @staticmethod
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def dial(self, request: bytes = b"CONNECT host:443 HTTP/1.1\r\nHost: host\r\n\r\n") -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        return Connection(reader, writer)

    @property
    def tunnel(self) -> Tunnel:
        return next(iter(self.proxy.tunnels.values()))


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def established(self) -> Connection:
        assert await self.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n\r\n"
        return self


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.port = await rig.proxy.start(0)
    yield rig
    await rig.proxy.stop()


async def test_what_is_sent_comes_through_both_ways(rig: Rig) -> None:
    connection = await (await rig.dial()).established()
    assert rig.tunnel.host == "host"
    content = bytes(range(256)) * 8192
    connection.writer.write(content)
    assert await asyncio.wait_for(connection.reader.readexactly(len(content)), 10) == content


async def test_bytes_after_the_request_are_not_lost(rig: Rig) -> None:
    connection = await (await rig.dial(b"CONNECT h:443 HTTP/1.1\r\n\r\nearly")).established()
    assert await asyncio.wait_for(connection.reader.readexactly(5), 5) == b"early"


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_only_connect_is_understood(rig: Rig, request_: bytes) -> None:
    connection = await rig.dial(request_)
    assert (await connection.reader.read()).startswith(b"HTTP/1.1 400")


async def test_an_endless_request_is_cut_off(rig: Rig) -> None:
    connection = await rig.dial(b"x" * 20_000)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await connection.reader.readexactly(1)


async def test_reset_and_close(rig: Rig) -> None:
    connection = await (await rig.dial()).established()
    rig.tunnel.reset("test")
    with pytest.raises(ConnectionResetError):
        await connection.reader.read()
    connection = await (await rig.dial()).established()
    tunnel = rig.tunnel
    tunnel.close("test")
    assert await connection.reader.read() == b""
    assert tunnel.ended_by == "test"


async def test_refused(rig: Rig) -> None:
    rig.refused = True
    connection = await rig.dial()
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await connection.reader.readexactly(1)


async def test_a_stall_holds_everything_back_until_it_ends(rig: Rig) -> None:
    connection = await (await rig.dial()).established()
    rig.tunnel.stall()
    connection.writer.write(b"waiting")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.reader.read(1), 0.1)
    assert client_lives(rig.tunnel)
    rig.tunnel.resume()
    assert await asyncio.wait_for(connection.reader.readexactly(7), 5) == b"waiting"


async def test_a_client_that_is_gone_is_noticed_behind_a_stall(rig: Rig) -> None:
    connection = await (await rig.dial()).established()
    tunnel = rig.tunnel
    tunnel.stall()
    connection.writer.transport.abort()
    for _ in range(1000):  # the kernel hands the reset over on its own; a few turns of the loop at most
        if not client_lives(tunnel):
            return
        await asyncio.sleep(0.001)
    pytest.fail("the client still seems to live")


async def test_a_port_that_is_taken_is_replaced(rig: Rig) -> None:
    other = Proxy(lambda _tunnel: True)
    assert await other.start(rig.port) != rig.port
    await other.stop()
