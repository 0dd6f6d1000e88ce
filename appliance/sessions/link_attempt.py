"""One attempt to link a session: a PAIR worker on a store of its own, until it becomes the session's or goes.

The session's own worker, if it has one, is not touched until the new one has taken its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from appliance.interfaces import PromotionGuard
from appliance.problems import conflict, timed_out, unavailable
from appliance.protocol import (
    ADOPTABLE_VERSIONS,
    CommandBody,
    EngineState,
    Event,
    Exited,
    Heartbeat,
    Hello,
    Paired,
    Promote,
    Reply,
    Signal,
    SignalKind,
)
from appliance.sessions.process import WorkerProcess
from appliance.sessions.settings import KeepaliveSettings
from appliance.sessions.worker_link import LinkDownError

PROMOTE_TIMEOUT_S: Final = 5.0
"""The worker only writes one number down. If it does not answer, its store carries that number already."""

_log = structlog.get_logger(__name__)

Promoted = Callable[["LinkAttemptHandle", PromotionGuard | None], Awaitable[None]]
Discarded = Callable[["LinkAttemptHandle"], Awaitable[None]]


class _Events(AsyncIterator[Event]):
    """Events until the worker is gone. Waiting may be given up and taken up again, which a generator does not allow."""

    def __init__(self, queue: asyncio.Queue[Event | None]) -> None:
        self._queue = queue
        self._ended = False

    async def __anext__(self) -> Event:
        event = None if self._ended else await self._queue.get()
        if event is None:
            self._ended = True
            raise StopAsyncIteration
        return event


class LinkAttemptHandle:
    """Implements `interfaces.LinkAttempt`. `promoted` and `discarded` carry out the end on the daemon's side; the
    operation lock is released by them."""

    def __init__(
        self, *, session: str, store: Path, keepalive: KeepaliveSettings, promoted: Promoted, discarded: Discarded
    ) -> None:
        self.session = session
        self.store = store
        self.process: WorkerProcess | None = None
        self.paired: Paired | None = None
        self.connected_at: float | None = None
        self.dead = False
        self.exit: Exited | None = None
        """How the worker ended, if the fork server could say."""
        self._keepalive = keepalive
        self._promoted = promoted
        self._discarded = discarded
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._greeted = asyncio.Event()
        self._over = False

    # ---- for the pairing room ---------------------------------------------------------------------------------------

    async def command(self, body: CommandBody, timeout: float) -> Reply:
        """Waits for the worker's hello first. Raises `ProblemError` 504, 503."""
        process = self._need_process()
        try:
            async with asyncio.timeout(timeout):
                await self._greeted.wait()
                return await process.command(body, timeout)
        except TimeoutError as error:
            raise timed_out("The linking process did not answer in time.", "Try again.") from error
        except LinkDownError as error:
            raise unavailable("The linking process ended.", "Try again.") from error

    def events(self) -> AsyncIterator[Event]:
        """Events of the attempt's worker in order; ends when the worker is gone. For one consumer."""
        return _Events(self._events)

    async def promote(self, guard: PromotionGuard | None = None) -> None:
        """Make this attempt's store and worker the session's. Raises `ProblemError` 409 if no phone has accepted it,
        and whatever `guard` raises: then the attempt is still to be discarded."""
        if self.paired is None or self._over:
            raise conflict("This attempt was not accepted by a phone, or is over.", "Link again.")
        await self._promoted(self, guard)
        self._over = True

    async def discard(self) -> None:
        """End the worker and delete the attempt's store; the session stays as it was. Harmless after the end."""
        if not self._over:
            self._over = True
            await self._discarded(self)

    # ---- for the service --------------------------------------------------------------------------------------------

    async def tell_generation(self, generation: int) -> None:
        """Let the worker know that it is the session's now."""
        try:
            reply = await self._need_process().command(Promote(generation=generation), PROMOTE_TIMEOUT_S)
        except (LinkDownError, TimeoutError) as error:
            _log.warning("a linked worker could not be told", session=self.session, error=str(error))
        else:
            if reply.error is not None:
                _log.warning("a linked worker refused its new place", session=self.session, error=reply.error)

    async def end(self) -> None:
        """End the worker for sure. A device that was accepted but is not kept is unlinked first, as far as possible."""
        process = self.process
        if process is None or process.gone.is_set():
            return
        if self.paired is not None and (error := await process.unlink(self._keepalive.logout_timeout_s)):
            _log.warning("an unfinished link could not be removed at WhatsApp", session=self.session, error=error)
        await process.end(self._keepalive, gently=True, dump=False)

    @property
    def engine_state(self) -> EngineState:
        """What the engine has proved, by its events."""
        return EngineState.CONNECTING if self.connected_at is None else EngineState.CONNECTED

    # ---- what the process tells (process.ProcessListener) -----------------------------------------------------------

    async def hello(self, process: WorkerProcess, hello: Hello) -> bool:
        if hello.protocol not in ADOPTABLE_VERSIONS or hello.generation != process.generation:
            _log.error("a linking worker has the wrong version or generation", session=self.session)
            return False
        self._greeted.set()
        return True

    async def event(self, process: WorkerProcess, event: Event, *, past: bool) -> None:  # noqa: ARG002 - protocol
        match event.body:
            case Paired():
                self.paired = event.body
            case Signal(kind=SignalKind.CONNECTED):
                self.connected_at = event.at
            case Signal(kind=SignalKind.KEEPALIVE_TIMEOUT | SignalKind.KEEPALIVE_RESTORED):
                pass
            case Signal():
                self.connected_at = None
        self._events.put_nowait(event)

    def heartbeat(self, process: WorkerProcess, heartbeat: Heartbeat) -> None:
        """Linking has deadlines of its own."""

    async def exited(self, process: WorkerProcess, exited: Exited | None) -> None:  # noqa: ARG002 - protocol
        self.dead, self.exit = True, exited
        self._events.put_nowait(None)

    def _need_process(self) -> WorkerProcess:
        if self.process is None:
            raise unavailable("The linking process was not started.", "Try again.")
        return self.process
