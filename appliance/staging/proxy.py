"""The CONNECT proxy: the only address that an engine talks to, and where faults of transport are made.

Behind it there is no second listening socket: each tunnel ends in one half of a socket pair whose other half is given
to the TLS server. Pausing, cutting and resetting happen here, below TLS, as on a real network.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

_log: Final = structlog.get_logger(__name__)
MAX_REQUEST_BYTES: Final = 16 * 1024
"""A CONNECT request of the engine has some 200 bytes."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: close() sends RST."""
_ESTABLISHED: Final = b"HTTP/1.1 200 OK\r\n\r\n"
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class Tunnel:
    """One client connection and what it is piped to. `account` and `device` are filled in once the client logs in."""

    def __init__(self, number: int, client: asyncio.Transport) -> None:
        self.number = number
        self.host = ""
        self.label = ""
        """User name that the client gave to the proxy, if any."""
        self.account: str | None = None
        self.device: int | None = None
        self.ended_by: str | None = None
        """What the network did to it; None: the client ended it, or it lives."""
        self.stalled = False
        self.client = client
        self.server: asyncio.Transport | None = None

    @property
    def peer(self) -> tuple[str, int]:
        address = self.client.get_extra_info("peername")
        return (str(address[0]), int(address[1])) if address else ("", 0)

    @property
    def closing(self) -> bool:
        return self.client.is_closing()

    def stall(self) -> None:
        """Move no more bytes in either direction; the sockets stay open."""
        self.stalled = True
        for transport in self._both():
            transport.pause_reading()

    def resume(self) -> None:
        self.stalled = False
        for transport in self._both():
            transport.resume_reading()

    def reset(self, why: str) -> None:
        """Cut it with RST."""
        if self.client.is_closing():
            return
        self.ended_by = self.ended_by or why
        sock = self.client.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the peer may have gone this very moment
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.client.abort()
        self._drop_server()

    def close(self, why: str) -> None:
        """Close it with FIN, below TLS."""
        if self.client.is_closing():
            return
        self.ended_by = self.ended_by or why
        self.client.close()
        self._drop_server()

    def _both(self) -> list[asyncio.Transport]:
        return [t for t in (self.client, self.server) if t is not None and not t.is_closing()]

    def _drop_server(self) -> None:
        if self.server is not None:
            self.server.abort()


class _Pipe(asyncio.Protocol):
    """One direction: what arrives here is written to `target`, at the speed that the target takes it."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.transport: asyncio.Transport | None = None
        self.target: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - the loop gives stream protocols a Transport
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.target is not None:
            self.target.write(data)

    def pause_writing(self) -> None:
        if self.target is not None:
            self.target.pause_reading()

    def resume_writing(self) -> None:
        if self.target is not None and not self.tunnel.stalled:
            self.target.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # a peer that resets is as gone as one that closes
        if self.target is not None:
            self.target.close()


Admit = Callable[[Tunnel], bool]
"""Asked for every tunnel as soon as its host is known; False: it was cut."""
Serve = Callable[[Tunnel, socket.socket], Coroutine[Any, Any, None]]
"""Takes over the server's end of a tunnel."""


async def _nobody(_tunnel: Tunnel, inner: socket.socket) -> None:
    """Until the server stands, there is nothing behind the proxy."""
    inner.close()


class _Door(_Pipe):
    """The client's side: reads the CONNECT request, then becomes a pipe."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._request: bytearray | None = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - the loop gives stream protocols a Transport
        super().__init__(self._proxy.opened(transport))
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            super().data_received(data)
            return
        self._request += data
        head, end, rest = bytes(self._request).partition(b"\r\n\r\n")
        if not end:
            if len(self._request) > MAX_REQUEST_BYTES and self.transport is not None:
                self.transport.close()
            return
        self._request = None
        self._proxy.requested(self, head.decode("latin-1"), rest)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._proxy.closed(self.tunnel)


class Proxy:
    """Listens on loopback; `tunnels` are the open ones by number."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self.serve: Serve = _nobody
        self.gone: Callable[[Tunnel], None] = lambda _tunnel: None
        self._server: asyncio.Server | None = None
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self.tunnels: dict[int, Tunnel] = {}

    async def start(self, port: int) -> int:
        """Listen on the given port of 127.0.0.1 if it is free (0: any), otherwise on another; return which."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Door(self), "127.0.0.1", port, backlog=1024)
        except OSError:
            if not port:
                raise
            _log.warning("port_taken", port=port)
            self._server = await loop.create_server(lambda: _Door(self), "127.0.0.1", 0, backlog=1024)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for tunnel in list(self.tunnels.values()):
            tunnel.close("stopping")
        if self._tasks:
            await asyncio.wait(self._tasks)

    def opened(self, transport: asyncio.Transport) -> Tunnel:
        tunnel = Tunnel(next(self._numbers), transport)
        self.tunnels[tunnel.number] = tunnel
        return tunnel

    def closed(self, tunnel: Tunnel) -> None:
        self.tunnels.pop(tunnel.number, None)
        self.gone(tunnel)

    def requested(self, door: _Door, head: str, rest: bytes) -> None:
        """The client has said where it wants to go."""
        words = head.split("\r\n", 1)[0].split(" ")
        client = door.tunnel.client
        if len(words) != 3 or words[0] != "CONNECT":
            client.write(_BAD_REQUEST)
            client.close()
            return
        door.tunnel.host = words[1].rpartition(":")[0].lower()
        if not self._admit(door.tunnel):
            return
        inner, outer = socket.socketpair()
        task = asyncio.get_running_loop().create_task(self._connect(door, inner, outer, rest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, door: _Door, inner: socket.socket, outer: socket.socket, rest: bytes) -> None:
        for sock in (inner, outer):
            sock.setblocking(False)  # noqa: FBT003 - its only form
        tunnel = door.tunnel
        transport, pipe = await asyncio.get_running_loop().connect_accepted_socket(lambda: _Pipe(tunnel), outer)
        pipe.target, tunnel.server, door.target = tunnel.client, transport, transport
        if tunnel.client.is_closing():
            transport.abort()
            inner.close()
            return
        tunnel.client.write(_ESTABLISHED)
        if rest:
            transport.write(rest)
        if tunnel.stalled:
            tunnel.stall()
        await self.serve(tunnel, inner)
