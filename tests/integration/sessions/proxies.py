"""Real proxies on loopback, SOCKS5 (RFC 1928, 1929) and HTTP CONNECT, that pass all on to the staging network."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote, urlsplit

USER: Final = "anna"
PASSWORD: Final = "s3cret:pass/word"


class LoopbackProxy:
    """`scheme` is http or socks5; `upstream` the staging network's proxy. It demands USER and PASSWORD."""

    def __init__(self, scheme: str, upstream: str) -> None:
        self._scheme = scheme
        self._upstream = urlsplit(upstream)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0
        self.destinations: list[str] = []
        self.source_ports: set[int] = set()
        """From which it has connected to the network: everything that came through here."""
        self.denying = False
        """Close what comes without a word."""
        self.denied: asyncio.Queue[None] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"{self._scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self._port}"

    @property
    def shown(self) -> str:
        return f"{self._scheme}://···@127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """At the same port as before, if there was one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse and cut everything."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            negotiate = self._socks5 if self._scheme == "socks5" else self._http
            if self.denying:
                self.denied.put_nowait(None)
                return
            if (destination := await negotiate(reader, writer)) is None:
                return
            self.destinations.append(destination)
            up_reader, up_writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
            self.source_ports.add(up_writer.get_extra_info("sockname")[1])
            try:
                up_writer.write(f"CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n".encode())
                await up_reader.readuntil(b"\r\n\r\n")
                granted = b"\x05\0\0\x01\0\0\0\0\0\0" if self._scheme == "socks5" else b"HTTP/1.1 200 OK\r\n\r\n"
                writer.write(granted)
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, up_writer))
                    group.create_task(_pump(up_reader, writer))
            finally:
                up_writer.transport.abort()
        except* (OSError, asyncio.IncompleteReadError):
            pass  # one of the two ends has gone
        finally:
            writer.transport.abort()

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        _, count = await reader.readexactly(2)
        if 2 not in await reader.readexactly(count):
            writer.write(b"\x05\xff")
            await writer.drain()
            return None
        writer.write(b"\x05\x02")
        user = await reader.readexactly((await reader.readexactly(2))[1])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        right = (user.decode(), password.decode()) == (USER, PASSWORD)
        writer.write(b"\x01\0" if right else b"\x01\x01")
        await writer.drain()
        if not right:
            return None
        await reader.readexactly(4)
        host = await reader.readexactly((await reader.readexactly(1))[0])
        return f"{host.decode()}:{int.from_bytes(await reader.readexactly(2))}"

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if f"Basic {login}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return None
        return head.split(" ", 2)[1]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one end is gone; that is the end of the other direction too."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
    raise ConnectionResetError
