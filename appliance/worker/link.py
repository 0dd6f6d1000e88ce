"""The worker's end of its control socket: one daemon at a time, events until they are acknowledged.

The worker speaks first. A new connection replaces the older one, because a daemon that was killed leaves a connection
behind that only looks alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from appliance.protocol import Ack, Command, EventBody, Heartbeat, Hello, Reply, ToWorker, Welcome
from appliance.sockets import LineStream, PeerError, bind_unix, remove_socket, serve_lines
from appliance.worker.store import CaptureStore

SOCKET: Final = "control.sock"
_BATCH: Final = 100
"""Events that are read from the outbox at once."""
_WELCOME_S: Final = 10.0
"""A daemon answers a hello at once; one that does not is none."""
_SLOW_PEER_BYTES: Final = 1 << 20
"""Heartbeats are left out while so much waits to be taken: old ones are worth nothing."""
_DECODER: Final = msgspec.json.Decoder(ToWorker)

OnCommand = Callable[[Command], Awaitable[Reply]]


class DaemonLink:
    """Owns the outbox: whoever has something to say calls `emit`."""

    def __init__(
        self,
        *,
        store_folder: Path,
        store: CaptureStore,
        hello: Callable[[], Hello],
        on_command: OnCommand,
        on_welcome: Callable[[Welcome], None],
        write_log: Callable[[str, str], None],
    ) -> None:
        self._path = store_folder / SOCKET
        self._store = store
        self._hello = hello
        self._on_command = on_command
        self._on_welcome = on_welcome
        self._write_log = write_log
        self._server: asyncio.Server | None = None
        self._stream: LineStream[ToWorker] | None = None
        self._welcomed = False
        self._more = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._commands: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises PeerError, OSError."""
        self._server = await serve_lines(bind_unix(self._path), _DECODER, self._serve)

    async def close(self) -> None:
        """Send what is pending, close, take the socket away."""
        if self._server is not None:
            self._server.close()
        if self._stream is not None:
            self._stream.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stream.wait_closed(), 1.0)  # a daemon that stopped reading gets no more
        remove_socket(self._path)

    def emit(self, body: EventBody) -> None:
        """Store an event and send it when there is somebody. Raises sqlite3.Error."""
        self._store.append_event(body)
        self._more.set()

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat if somebody listens; it is not kept."""
        stream = self._stream
        if stream is not None and self._welcomed and stream.unsent_bytes < _SLOW_PEER_BYTES:
            with contextlib.suppress(PeerError):
                stream.post(heartbeat)

    async def drained(self, timeout_s: float) -> bool:
        """Wait until the daemon has acknowledged everything; False if it did not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._store.events_after(0, 1):
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
                return True
        return False

    async def _serve(self, stream: LineStream[ToWorker]) -> None:
        if self._stream is not None:
            self._stream.abort()
        self._stream, self._welcomed = stream, False
        sender: asyncio.Task[None] | None = None
        try:
            await stream.send(self._hello())
            first = await asyncio.wait_for(stream.receive(), _WELCOME_S)
            if not isinstance(first, Welcome):
                return
            self._write_log("INFO", f"daemon {first.daemon} connected")
            self._on_welcome(first)
            self._welcomed = True
            sender = asyncio.create_task(self._send_events(stream), name="outbox")
            async for message in stream:
                self._receive(stream, message)
        except TimeoutError:
            self._write_log("WARN", "somebody connected to the control socket and said nothing")
        finally:
            if sender is not None:
                sender.cancel()
            if self._stream is stream:
                self._stream, self._welcomed = None, False

    def _receive(self, stream: LineStream[ToWorker], message: ToWorker) -> None:
        if isinstance(message, Ack):
            self._store.acknowledge(message.seq)
            self._acknowledged.set()
        elif isinstance(message, Command):
            task = asyncio.create_task(self._run_command(stream, message), name=type(message.body).__name__)
            self._commands.add(task)
            task.add_done_callback(self._commands.discard)

    async def _run_command(self, stream: LineStream[ToWorker], command: Command) -> None:
        reply = await self._on_command(command)
        with contextlib.suppress(PeerError):  # whoever asked has gone
            await stream.send(reply)

    async def _send_events(self, stream: LineStream[ToWorker]) -> None:
        """Everything that is not acknowledged, from the start, then what comes."""
        sent = 0
        try:
            while True:
                self._more.clear()
                while events := self._store.events_after(sent, _BATCH):
                    for event in events:
                        await stream.send(event)
                        sent = event.seq
                await self._more.wait()
        except PeerError:
            return
        except sqlite3.Error as error:
            self._write_log("ERROR", f"the outbox cannot be read: {error}")
            stream.abort()
