"""One chat connection: WebSocket, Noise, frames. What is said over it belongs to the peer that it is handed to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

import structlog
from aiohttp import WSMsgType, web

from appliance.staging.codec import binary_xml, protobuf
from appliance.staging.codec.binary_xml import Node, unpack_frame_payload
from appliance.staging.codec.errors import DecodeError
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.crypto.errors import CryptoError
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.crypto.noise import CONNECTION_HEADER, NoiseResponder, Transport
from appliance.staging.faults import Faults, Target
from appliance.staging.journal import Journal
from appliance.staging.proxy import Tunnel
from appliance.staging.store import Store

_log: Final = structlog.get_logger(__name__)
_LENGTH_BYTES: Final = 3
_PLAIN: Final = bytes([binary_xml.FLAG_PLAIN])
MAX_FRAME: Final = 1 << 24
"""Lengths have 24 bits."""
MAX_WRITE: Final = 256 * 1024
"""Frames that wait are put into one WebSocket message up to this size: a queue of thousands goes out in few writes."""
HANDSHAKE_TIMEOUT_S: Final = 30.0
"""Longer than the engine's own 20 s, so that the engine's judgement is what a test sees."""
LAST_WORD_S: Final = 0.5
"""Between a stream error and the end of its connection; the engine mostly closes first."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long a closing connection may take to hand over its last frame."""


class Peer(Protocol):
    """Whoever speaks for the server once the handshake is done."""

    def on_stanza(self, node: Node) -> None:
        """A stanza has arrived."""

    def on_closed(self) -> None:
        """The connection is gone."""


class ChatConnection:
    """The server's end of one connection of a client."""

    def __init__(self, tunnel: Tunnel, socket: web.WebSocketResponse, store: Store) -> None:
        self.tunnel = tunnel
        self.number = tunnel.number
        self._socket = socket
        self._store = store
        self._transport: Transport | None = None
        self._received = bytearray()
        self._outgoing = bytearray()
        self._wake = asyncio.Event()
        self._closing = False
        self.ended_by: str | None = None
        """Why the network ends this connection; None: it does not."""

    # ---- outwards

    def send(self, node: Node) -> None:
        """Encrypt a stanza and have it written; without effect once the connection is closing."""
        self.send_encoded(binary_xml.encode(node))

    def send_encoded(self, stanza: bytes) -> None:
        """As `send`, for a stanza that is binary XML already."""
        if self._transport is not None and not self._closing:
            self._push(self._transport.encrypt(_PLAIN + stanza))

    def _push(self, frame: bytes) -> None:
        self._outgoing += len(frame).to_bytes(_LENGTH_BYTES) + frame
        self._wake.set()

    def close(self, why: str) -> None:
        """Close it properly after what was sent; `why` goes into the journal unless a reason is there already."""
        self.ended_by = self.ended_by or why
        self._closing = True
        self._wake.set()

    def close_soon(self, why: str) -> None:
        """As `close`, but leave the client the time to read and judge what was sent last: it drops what it has not
        judged yet when the connection closes."""
        self.ended_by = self.ended_by or why
        asyncio.get_running_loop().call_later(LAST_WORD_S, self.close, why)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                chunk = bytes(self._outgoing[:MAX_WRITE])
                del self._outgoing[:MAX_WRITE]
                self._store.flush()
                await self._socket.send_bytes(chunk)
            if self._closing:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._socket.close()
                return

    # ---- inwards

    async def _frame(self) -> bytes | None:
        """The next frame; None when the client is gone."""
        while True:
            if len(self._received) >= _LENGTH_BYTES:
                end = _LENGTH_BYTES + int.from_bytes(self._received[:_LENGTH_BYTES])
                if len(self._received) >= end:
                    frame = bytes(self._received[_LENGTH_BYTES:end])
                    del self._received[:end]
                    return frame
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return None
            self._received += message.data

    async def handshake(self, static: KeyPair, chain: bytes) -> tuple[bytes, protobuf.Fields] | None:
        """Noise XX as the responder; the client's static key and its ClientPayload, or None if it went away.

        Raises DecodeError or CryptoError if the client does not speak the protocol.
        """
        while len(self._received) < len(CONNECTION_HEADER):
            message = await self._socket.receive()
            if message.type is not WSMsgType.BINARY:
                return None
            self._received += message.data
        if self._received[: len(CONNECTION_HEADER)] != CONNECTION_HEADER:
            raise DecodeError("the connection does not begin with WA, version 6, dictionary 3", 0)
        del self._received[: len(CONNECTION_HEADER)]
        responder = NoiseResponder(static, chain)
        hello = await self._frame()
        if hello is None:
            return None
        self._push(responder.receive_hello(hello))
        finish = await self._frame()
        if finish is None:
            return None
        client_static, payload = responder.receive_finish(finish)
        self._transport = responder.split()
        return client_static, protobuf.decode(payload)

    async def swallow(self) -> None:
        """Read and answer nothing until the client is gone."""
        while (await self._socket.receive()).type is WSMsgType.BINARY:
            pass

    async def stanzas(self, peer: Peer) -> None:
        """Hand over what arrives until the client is gone. Raises DecodeError or CryptoError for what is no stanza."""
        while self._transport is not None:
            frame = await self._frame()
            if frame is None:
                return
            peer.on_stanza(unpack_frame_payload(self._transport.decrypt(frame)))

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Run the writer beside the reader."""
        writer = asyncio.get_running_loop().create_task(self._write())
        try:
            yield
        finally:
            if self._closing:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(writer), CLOSE_TIMEOUT_S)
            writer.cancel()
            await asyncio.wait([writer])
            if not writer.cancelled() and (error := writer.exception()) is not None:
                _log.debug("write_ended", connection=self.number, error=repr(error))


Welcome = Callable[[ChatConnection, bytes, protobuf.Fields], Peer]
"""Decides who a client is from its static key and ClientPayload."""


class ChatServer:
    """Takes WebSocket upgrades and runs each connection to its end."""

    def __init__(
        self, static: KeyPair, chain: bytes, store: Store, faults: Faults, journal: Journal, welcome: Welcome
    ) -> None:
        self._static = static
        self._chain = chain
        self._store = store
        self._faults = faults
        self._journal = journal
        self._welcome = welcome
        self.connections: dict[int, ChatConnection] = {}

    async def serve(self, request: web.BaseRequest, tunnel: Tunnel) -> web.StreamResponse:
        target = Target(tunnel.number, tunnel.account)
        if self._faults.find([FaultKind.NO_UPGRADE], target):
            await asyncio.Event().wait()  # until the client gives up or the network stops
        socket = web.WebSocketResponse(compress=False, max_msg_size=MAX_FRAME, timeout=CLOSE_TIMEOUT_S)
        await socket.prepare(request)
        connection = ChatConnection(tunnel, socket, self._store)
        self.connections[connection.number] = connection
        self._journal.add(JournalKind.OPENED, connection=connection.number)
        try:
            async with connection.writing():
                await self._run(connection, target)
        finally:
            del self.connections[connection.number]
        return socket

    async def _run(self, connection: ChatConnection, target: Target) -> None:
        peer: Peer | None = None
        try:
            if self._faults.find([FaultKind.NO_HELLO], target):
                await connection.swallow()
                return
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                done = await connection.handshake(self._static, self._chain)
            if done is None:
                return
            peer = self._welcome(connection, *done)
            await connection.stanzas(peer)
        except TimeoutError:
            connection.close("handshake timeout")
        except (DecodeError, CryptoError) as error:
            _log.warning("protocol_error", connection=connection.number, error=str(error))
            connection.close(f"protocol error: {error}")
        except Exception:  # a mistake of ours, which must not be taken for the client's
            connection.ended_by = connection.ended_by or "network error"
            raise
        finally:
            if peer is not None:
                peer.on_closed()
