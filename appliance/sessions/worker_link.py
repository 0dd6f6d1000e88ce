"""The daemon's end of one worker's control socket: connect, be greeted, take events in order, ask and be answered.

An event is acknowledged when its handler has returned, never before; if the handler fails, it gets the same event again
after a pause, and those behind it wait. Handlers run in a task of their own: while one fails or waits for the worker's
answer to a command, answers and heartbeats are still read; our full disk must not make a worker look dead.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from appliance.protocol import (
    PROTOCOL_VERSION,
    Ack,
    CaptureSettings,
    Command,
    CommandBody,
    Event,
    FromWorker,
    Heartbeat,
    Hello,
    Reply,
    Welcome,
)
from appliance.sockets import LineStream, PeerError, open_lines

CONTROL_SOCKET: Final = "control.sock"
RETRY_FIRST_S: Final = 0.02
"""A new worker listens 0.1–0.3 s after the fork, and nothing tells when; trying costs one system call."""
RETRY_LAST_S: Final = 0.5
UP_WAIT_S: Final = 1.0
"""Whoever heard of a worker's hello may ask it something before the welcome has left: a matter of milliseconds."""
LAST_TAKEN_S: Final = 2.0
"""When the connection has ended: what had arrived before is taken within this. What is not is in the worker's outbox,
which a session that stays stopped would keep to itself."""
TAKE_AGAIN_FIRST_S: Final = 0.1
TAKE_AGAIN_LAST_S: Final = 5.0
"""Pauses before an event is offered again that could not be taken; nothing is lost meanwhile, the worker keeps it."""
HELLO_TIMEOUT_S: Final = 10.0
"""A worker speaks first, at once; one that does not is stopped or swapped out. The link then tries again."""

_DECODER: Final = msgspec.json.Decoder(FromWorker)
_log = structlog.get_logger(__name__)


class LinkDownError(Exception):
    """There is no connection to the worker, or it ended before the answer."""


class LinkHandler(Protocol):
    """Whom a link tells."""

    async def hello(self, hello: Hello) -> bool:
        """A connection stands; the worker waits for our answer. False: this is not the right one, the link closes."""
        ...

    async def event(self, event: Event, *, past: bool) -> None:
        """The next event; `past`: recorded by an earlier process. Raising means: offer it again."""
        ...

    def heartbeat(self, heartbeat: Heartbeat) -> None: ...


class WorkerLink:
    """`start`, then `close`; in between it reconnects by itself."""

    def __init__(self, store: Path, daemon: str, handler: LinkHandler, capture: Callable[[], CaptureSettings]) -> None:
        self._path = store / CONTROL_SOCKET
        self._daemon = daemon
        self._handler = handler
        self._capture = capture
        self._stream: LineStream[FromWorker] | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._next_command = 1
        self._first_own_event = 0
        self._started_at = 0.0
        self._finishing = False

    @property
    def connected(self) -> bool:
        """Whether a worker has introduced itself on the present connection."""
        return self._stream is not None

    def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._maintain(), name=f"worker link {self._path.parent.name}")

    async def close(self) -> None:
        """Drop the connection for good; commands under way end with LinkDownError."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._fail_commands()

    async def finish(self, timeout_s: float) -> None:
        """The process is dead: take what it had sent before, then close."""
        self._finishing = True
        if self._task is not None and self._stream is not None:
            await asyncio.wait([self._task], timeout=timeout_s)
        await self.close()

    async def command(self, body: CommandBody, timeout_s: float) -> Reply:
        """Raises LinkDownError, TimeoutError."""
        if self._stream is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), min(timeout_s, UP_WAIT_S))
        stream = self._stream
        if stream is None:
            raise LinkDownError("there is no connection to the session's process")
        number, self._next_command = self._next_command, self._next_command + 1
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(timeout_s):
                await stream.send(Command(id=number, body=body))
                return await future
        except PeerError as error:
            raise LinkDownError(str(error)) from error
        finally:
            self._waiting.pop(number, None)

    async def _maintain(self) -> None:
        pause = RETRY_FIRST_S
        while not self._finishing:
            try:
                stream = await open_lines(self._path, _DECODER)
            except (PeerError, OSError):
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_LAST_S)
                continue
            try:
                if not await self._serve(stream):
                    return
                pause = RETRY_FIRST_S
            except (PeerError, TimeoutError) as error:
                _log.debug("worker link broke", store=self._path.parent.name, error=str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_LAST_S)
            finally:
                self._stream = None
                self._up.clear()
                self._fail_commands()
                stream.abort()

    async def _serve(self, stream: LineStream[FromWorker]) -> bool:
        """Until the connection ends. False if this worker is not wanted."""
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            hello = await stream.receive()
        if not isinstance(hello, Hello):
            raise PeerError("the worker did not introduce itself")
        if not await self._handler.hello(hello):
            return False
        self._first_own_event, self._started_at = hello.first_event, hello.started_at
        await stream.send(Welcome(protocol=PROTOCOL_VERSION, daemon=self._daemon, capture=self._capture()))
        self._stream = stream
        self._up.set()
        events: asyncio.Queue[Event] = asyncio.Queue()
        handling = asyncio.create_task(self._handle_events(stream, events), name="worker events")
        broken: PeerError | None = None
        try:
            try:
                await self._read(stream, events)
            except PeerError as error:
                broken = error
            self._fail_commands()  # one of the events may wait for an answer that will not come
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_TAKEN_S):
                    await events.join()
        finally:
            handling.cancel()
            await asyncio.wait([handling])
        if broken is not None:
            raise broken
        return True

    async def _read(self, stream: LineStream[FromWorker], events: asyncio.Queue[Event]) -> None:
        async for message in stream:
            match message:
                case Event():
                    events.put_nowait(message)
                case Heartbeat():
                    self._handler.heartbeat(message)
                case Reply():
                    future = self._waiting.get(message.id)
                    if future is not None and not future.done():
                        future.set_result(message)

    async def _handle_events(self, stream: LineStream[FromWorker], events: asyncio.Queue[Event]) -> None:
        """One after the other, each until it is taken."""
        while True:
            event = await events.get()
            await self._hand_over(event)
            events.task_done()
            with contextlib.suppress(PeerError):  # it is gone; its successor sends the event again
                stream.post(Ack(seq=event.seq))

    async def _hand_over(self, event: Event) -> None:
        pause = TAKE_AGAIN_FIRST_S
        while True:
            try:
                await self._handler.event(event, past=self._is_past(event))
            except Exception:
                _log.exception("an event could not be taken", store=self._path.parent.name, seq=event.seq)
                await asyncio.sleep(pause)
                pause = min(2 * pause, TAKE_AGAIN_LAST_S)
            else:
                return

    def _is_past(self, event: Event) -> bool:
        """A worker of the release before does not say where its own events begin; then the time decides."""
        return event.seq < self._first_own_event if self._first_own_event else event.at < self._started_at

    def _fail_commands(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                with contextlib.suppress(asyncio.InvalidStateError):
                    future.set_exception(LinkDownError("the connection to the session's process ended"))
