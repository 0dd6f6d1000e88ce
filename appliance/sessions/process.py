"""One worker process as the daemon holds it: number, store, link, and how it is ended for sure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog

from appliance.forkserver.client import ForkServerClient, ForkServerGoneError, RefusedError
from appliance.model_capture import CaptureSettings
from appliance.protocol import CommandBody, Event, Exited, Heartbeat, Hello, Logout, Probe, Reply, Stop
from appliance.sessions.settings import KeepaliveSettings
from appliance.sessions.worker_link import LinkDownError, WorkerLink

STOP_REPLY_S: Final = 2.0
"""A worker answers `Stop` before it begins to end; one that does not gets SIGTERM, which means the same."""
LAST_EVENTS_S: Final = 2.0
"""What a dead worker had sent already is read within this; the rest is in its outbox."""
KILL_AGAIN_S: Final = 2.0
"""SIGKILL takes effect in milliseconds, unless the fork server is away; then it is tried again."""

_log = structlog.get_logger(__name__)


class ProcessListener(Protocol):
    """Whom a process tells; the process comes along, because a session can have an old and a new one for a while."""

    async def hello(self, process: WorkerProcess, hello: Hello) -> bool: ...

    async def event(self, process: WorkerProcess, event: Event, *, past: bool) -> None: ...

    def heartbeat(self, process: WorkerProcess, heartbeat: Heartbeat) -> None: ...

    async def exited(self, process: WorkerProcess, exited: Exited | None) -> None:
        """It is proven dead, everything it had sent was taken. None: it went down with the fork server."""
        ...


class WorkerProcess:
    """From the moment its number is known until it is proven dead. `start` opens the link."""

    def __init__(
        self,
        *,
        session: str,
        pid: int,
        store: Path,
        generation: int,
        fork: ForkServerClient,
        daemon: str,
        capture: Callable[[], CaptureSettings],
        listener: ProcessListener,
    ) -> None:
        """`capture`: what it shall keep, at the moment when it is greeted."""
        self.session = session
        self.pid = pid
        self.store = store
        self.generation = generation
        self.hello: Hello | None = None
        self.gone = asyncio.Event()
        """Proven dead."""
        self.settled = asyncio.Event()
        """Dead, and whoever listens has drawn the consequences."""
        self.listener = listener
        self._fork = fork
        self._pidfd = -1
        """Names the very process, whoever gets its number later. Not /proc: on a server the sessions' unit has a user
        namespace of its own, and what runs there is hidden from ours."""
        self._link = WorkerLink(store, daemon, _Handler(self), capture)
        self._dying = False

    def start(self) -> None:
        """Take note of who it is, and connect."""
        with contextlib.suppress(ProcessLookupError):  # it has ended already; its exit will be told
            self._pidfd = os.pidfd_open(self.pid)
        self._link.start()

    @property
    def running(self) -> bool:
        """Whether the very process still exists."""
        if self._pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    async def command(self, body: CommandBody, timeout_s: float) -> Reply:
        """Raises LinkDownError, TimeoutError."""
        return await self._link.command(body, timeout_s)

    async def probe(self, timeout_s: float) -> str | None:
        """None if WhatsApp answered, otherwise what went wrong. Bounded here too: the process itself may hang."""
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self.command(Probe(timeout_s=timeout_s), timeout_s)
        except TimeoutError:
            return f"No answer to a probe within {timeout_s:.0f} s."
        except LinkDownError as error:
            return str(error)
        return reply.error

    async def end(self, settings: KeepaliveSettings, *, gently: bool, dump: bool) -> None:
        """Have it end; returns when it is proven dead. Harmless if it is already."""
        if gently and await self._ask_to_stop():
            await self._wait_gone(settings.stop_grace_s)
        if dump and not self.gone.is_set():
            await self._signal(signal.SIGUSR1)  # the worker has faulthandler write all stacks to its store
            await self._wait_gone(settings.stack_dump_s)
        while not self.gone.is_set():
            await self._signal(signal.SIGKILL)
            await self._wait_gone(KILL_AGAIN_S)

    async def unlink(self, timeout_s: float) -> str | None:
        """Have WhatsApp forget this device; None if it has, otherwise why not."""
        try:
            return (await self.command(Logout(), timeout_s)).error
        except TimeoutError:
            return f"WhatsApp did not answer within {timeout_s:.0f} s"
        except LinkDownError as error:
            return str(error)

    async def died(self, exited: Exited | None) -> None:
        """The fork server says so, or the process is gone together with it."""
        if self._dying:
            await self.settled.wait()
            return
        self._dying = True
        await self._link.finish(LAST_EVENTS_S)
        self.gone.set()
        try:
            await self.listener.exited(self, exited)
        finally:
            self._forget()
            self.settled.set()

    async def wait_death(self) -> None:
        """Without the fork server: until the kernel says that the process has ended."""
        if not self.running:
            return
        fd = os.dup(self._pidfd)  # whoever else learns of the death closes the other one
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def kill_orphan(self) -> None:
        """Its fork server is dead and it is not: end it, whoever is its parent now."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def close(self) -> None:
        """Let go of it without touching it: the next daemon adopts it."""
        await self._link.close()
        self._forget()

    def _forget(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    async def _ask_to_stop(self) -> bool:
        try:
            await self.command(Stop(), STOP_REPLY_S)
        except (LinkDownError, TimeoutError):
            return await self._signal(signal.SIGTERM)
        return True

    async def _signal(self, number: signal.Signals) -> bool:
        try:
            await self._fork.kill(self.session, self.pid, number)
        except RefusedError:
            return False  # dead: its exit is on the way
        except ForkServerGoneError as error:
            _log.warning("no signal without fork server", session=self.session, pid=self.pid, error=str(error))
            return False
        return True

    async def _wait_gone(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.gone.wait(), timeout_s)


class _Handler:
    """Adds the process to what its link tells; the listener can change when a linking attempt becomes a session."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process

    async def hello(self, hello: Hello) -> bool:
        process = self._process
        if hello.session != process.session or Path(hello.store_folder) != process.store:
            _log.error("a worker of another session answers", session=process.session, pid=hello.pid)
            return False
        process.hello = hello
        return await process.listener.hello(process, hello)

    async def event(self, event: Event, *, past: bool) -> None:
        await self._process.listener.event(self._process, event, past=past)

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        self._process.listener.heartbeat(self._process, heartbeat)
