"""The daemon's side of the fork server: orders with typed answers, and one stream of what happened meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from appliance.protocol import (
    ADOPTABLE_VERSIONS,
    PROTOCOL_VERSION,
    Done,
    ExecInPlace,
    Exited,
    ForgetExit,
    ForkHello,
    ForkRequest,
    FromForkServer,
    Kill,
    ListWorkers,
    Refused,
    Spawn,
    Spawned,
    WorkerProcess,
    Workers,
    WorkerSpec,
)
from appliance.sockets import LineStream, PeerError, open_lines

REQUEST_TIMEOUT_S: Final = 10.0
"""Every order is a system call or two; only swapping makes it slow."""
EXEC_TIMEOUT_S: Final = 90.0
"""The fork server's own trial of the release may take 60 s, then comes the start itself."""
RECONNECT_FIRST_S: Final = 0.05
RECONNECT_LAST_S: Final = 1.0
"""Pauses between attempts to reach the fork server double from the first to the last."""

_DECODER: Final = msgspec.json.Decoder(FromForkServer)
_Reply = TypeVar("_Reply", Spawned, Workers, Done)


class ForkServerError(Exception):
    """An order was not carried out."""


class ForkServerGoneError(ForkServerError):
    """There is no connection, or it broke before the answer: whether the order was carried out, `list` tells later."""


class RefusedError(ForkServerError):
    """The fork server says no, and why."""


class Lost(msgspec.Struct, frozen=True):
    """The connection broke; a `ForkHello` follows when it is back. Another pid in it: every worker has ended."""

    reason: str


ForkEvent = ForkHello | Exited | Lost


class ForkServerClient:
    """One lasting connection to the fork server at `socket_path`; an asynchronous context manager.

    `events()` yields `ForkHello` each time a connection stands, `Lost` when it breaks, and every exit exactly once a
    client object, until and unless `forget_exit` has been called for it.
    """

    def __init__(self, socket_path: str | os.PathLike[str]) -> None:
        self._path = socket_path
        self._stream: LineStream[FromForkServer] | None = None
        self._hello: ForkHello | None = None
        self._events: asyncio.Queue[ForkEvent] = asyncio.Queue()
        self._replies: asyncio.Queue[Spawned | Workers | Done | Refused | Lost] = asyncio.Queue()
        self._one_order = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._told: set[tuple[int, float]] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._maintain(), name="forkserver client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def hello(self) -> ForkHello | None:
        """Who is at the other end; None while there is no connection."""
        return self._hello

    async def wait_connected(self, timeout_s: float) -> ForkHello:
        """Raises ForkServerGoneError if no connection stands after that long."""
        try:
            return await self._wait_hello(float("-inf"), timeout_s)
        except TimeoutError:
            raise ForkServerGoneError(f"no fork server answers at {os.fspath(self._path)}") from None

    async def events(self) -> AsyncIterator[ForkEvent]:
        """What happens, in order, without end. For one consumer."""
        while True:
            yield await self._events.get()

    async def spawn(self, spec: WorkerSpec) -> int:
        """Fork a worker; returns its process number. Raises RefusedError, ForkServerGoneError."""
        reply = await self._order(Spawn(spec=spec), Spawned)
        if reply.pid is None:
            raise RefusedError(reply.error or "the fork server gave no reason")
        return reply.pid

    async def kill(self, session: str, pid: int, number: int) -> None:
        """Send a signal to a worker. Raises RefusedError if that process is no living worker of the session."""
        await self._order(Kill(session=session, pid=pid, signal=number), Done)

    async def list(self) -> list[WorkerProcess]:
        """The living workers. Raises ForkServerGoneError."""
        return (await self._order(ListWorkers(), Workers)).workers

    async def forget_exit(self, pid: int) -> None:
        """The exit is recorded on our side: it need not be told again. Raises ForkServerGoneError."""
        await self._order(ForgetExit(pid=pid), Done)
        if told := sorted(exit_ for exit_ in self._told if exit_[0] == pid):
            self._told.discard(told[0])

    async def exec_in_place(
        self, python: str, *, engine: str | None = None, timeout_s: float = EXEC_TIMEOUT_S
    ) -> ForkHello:
        """Move the fork server to the release of that interpreter, and to the engine in that folder (empty: the one
        that came with that release, None: as before); the workers live on. Returns its new hello.

        Uses a connection of its own, so that other orders go on during the trial. Raises RefusedError with the reason
        if the release cannot be loaded, ForkServerGoneError if it is not back in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                before = await self._ask_for_exec(ExecInPlace(python=python, engine=engine))
                after = await self._wait_hello(before.started_at, timeout_s)
        except TimeoutError:
            raise ForkServerGoneError(f"the fork server did not change to {python} in time") from None
        if after.pid != before.pid:
            raise ForkServerGoneError("the fork server died while it changed to another release; so did its workers")
        return after

    async def _ask_for_exec(self, request: ExecInPlace) -> ForkHello:
        try:
            stream, hello = await self._connect()
        except PeerError as error:
            raise ForkServerGoneError(str(error)) from error
        try:
            await stream.send(request)
            async for message in stream:
                if isinstance(message, Refused):
                    raise RefusedError(message.error)
        except PeerError:
            pass  # the exec closes the connection, in order or not
        finally:
            stream.abort()
        return hello

    async def _wait_hello(self, newer_than: float, timeout_s: float) -> ForkHello:
        """The hello of a fork server that started after that time. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._changed:
            while self._hello is None or self._hello.started_at <= newer_than:
                await self._changed.wait()
            return self._hello

    async def _set_connection(self, stream: LineStream[FromForkServer] | None, hello: ForkHello | None) -> None:
        async with self._changed:
            self._stream, self._hello = stream, hello
            self._changed.notify_all()

    async def _order(self, request: ForkRequest, expected: type[_Reply]) -> _Reply:
        async with self._one_order:
            stream = self._stream
            if stream is None:
                raise ForkServerGoneError("there is no connection to the fork server")
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    await stream.send(request)
                    reply = await self._replies.get()
            except TimeoutError:
                stream.abort()  # a late answer must not be taken for that to the next order
                raise ForkServerGoneError(f"the fork server did not answer within {REQUEST_TIMEOUT_S:.0f} s") from None
            except asyncio.CancelledError:
                stream.abort()
                raise
            except PeerError as error:
                raise ForkServerGoneError(str(error)) from error
        match reply:
            case Refused(error=reason):
                raise RefusedError(reason)
            case Lost(reason=reason):
                raise ForkServerGoneError(reason)
        if not isinstance(reply, expected):
            stream.abort()
            raise ForkServerGoneError(f"the fork server answered {type(reply).__name__} to {type(request).__name__}")
        return reply

    async def _connect(self) -> tuple[LineStream[FromForkServer], ForkHello]:
        stream = await open_lines(self._path, _DECODER)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                hello = await stream.receive()
        except TimeoutError:
            stream.abort()
            raise PeerError("the fork server says nothing") from None
        except BaseException:
            stream.abort()
            raise
        match hello:
            case ForkHello() if hello.protocol in ADOPTABLE_VERSIONS:
                return stream, hello
            case ForkHello():
                reason = f"it speaks version {hello.protocol} of the protocol, we speak {PROTOCOL_VERSION}"
            case Refused(error=reason):
                pass
            case _:
                reason = "it did not introduce itself"
        stream.abort()
        raise PeerError(f"the fork server cannot be used: {reason}")

    async def _maintain(self) -> None:
        """Connect, read until it breaks, and again."""
        pause = RECONNECT_FIRST_S
        while True:
            try:
                stream, hello = await self._connect()
            except (PeerError, OSError):
                await asyncio.sleep(pause)
                pause = min(2 * pause, RECONNECT_LAST_S)
                continue
            pause = RECONNECT_FIRST_S
            try:
                reason = await self._read(stream, hello)
            finally:
                stream.abort()
                await self._set_connection(None, None)
            self._replies.put_nowait(Lost(reason))
            self._events.put_nowait(Lost(reason))

    async def _read(self, stream: LineStream[FromForkServer], hello: ForkHello) -> str:
        """Pass on what comes; returns why it ended."""
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                self._replies.get_nowait()
        await self._set_connection(stream, hello)
        self._events.put_nowait(hello)
        try:
            async for message in stream:
                if isinstance(message, Exited):
                    self._tell(message)
                elif not isinstance(message, ForkHello):
                    self._replies.put_nowait(message)
        except PeerError as error:
            return str(error)
        return "the fork server closed the connection"

    def _tell(self, exited: Exited) -> None:
        if (exited.pid, exited.at) not in self._told:
            self._told.add((exited.pid, exited.at))
            self._events.put_nowait(exited)
