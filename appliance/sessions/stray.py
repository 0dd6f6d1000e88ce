"""A worker that a daemon before us left behind: most often a linking attempt that nobody follows any more.

If its phone had accepted by then, WhatsApp knows a device that no session will ever use: it is unlinked on the way out.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog

from appliance.protocol import EngineState, Event, Exited, Heartbeat, Hello, WorkerMode
from appliance.sessions.process import WorkerProcess
from appliance.sessions.settings import KeepaliveSettings

HELLO_S: Final = 3.0
"""A worker that runs introduces itself within milliseconds."""

_MAY_BE_ACCEPTED: Final = frozenset({EngineState.CONNECTED, EngineState.CONNECTING, EngineState.DISCONNECTED})
"""Logged in, or accepted and on the way to the first login. One that has not been accepted refuses to be unlinked."""

_log = structlog.get_logger(__name__)


class Stray:
    """Listens to such a process only as far as its end needs (process.ProcessListener). Its events are not taken."""

    def __init__(self, keepalive: KeepaliveSettings, *, keep_login: bool = False) -> None:
        """`keep_login`: its store is a session's, so what it is linked to is not its own to give up."""
        self._keepalive = keepalive
        self._keep_login = keep_login
        self._greeted = asyncio.Event()

    async def end(self, process: WorkerProcess) -> None:
        """Returns when it is proven dead."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._greeted.wait(), HELLO_S)
        hello = process.hello
        linking = hello is not None and hello.mode is WorkerMode.PAIR and hello.engine_state in _MAY_BE_ACCEPTED
        if linking and not self._keep_login:
            error = await process.unlink(self._keepalive.logout_timeout_s)
            _log.info("an unfinished link was removed", session=process.session, error=error)
        await process.end(self._keepalive, gently=True, dump=False)

    async def hello(self, process: WorkerProcess, hello: Hello) -> bool:  # noqa: ARG002 - protocol
        self._greeted.set()
        return True

    async def event(self, process: WorkerProcess, event: Event, *, past: bool) -> None:
        """Nobody is left whom it concerns; its store is deleted."""

    def heartbeat(self, process: WorkerProcess, heartbeat: Heartbeat) -> None:
        """Its health does not matter any more."""

    async def exited(self, process: WorkerProcess, exited: Exited | None) -> None:
        """As it should."""
