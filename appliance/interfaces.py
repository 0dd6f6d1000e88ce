"""What the pairing, media and API rooms expect of the sessions' room, so that each can be tested with a fake of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiosqlite

from appliance.model import SessionState, SessionView
from appliance.model_backup import RestoreSession
from appliance.model_capture import CaptureChange, CaptureView
from appliance.protocol import CommandBody, Event, ForkHello, Heartbeat, Reply

EventCallback = Callable[[str, str, Event], Awaitable[None]]
"""Session, name of the store (its folder), event. It must be safe to call again with the same event."""
RemovalCallback = Callable[[str, bool], Awaitable[None]]
"""Session and whether its media shall go too. Called when its worker has ended and its folder still exists."""


PromotionGuard = Callable[[aiosqlite.Connection], Awaitable[None]]
"""Called inside the transaction that makes a store the session's, before its row changes. It raises `ProblemError` if
whoever asks has lost the right to (its lock was taken over); then nothing is changed."""


class LinkAttempt(Protocol):
    """One linking attempt: a PAIR worker on a fresh store. It ends with `promote` or `discard`, exactly once; until
    then the session's operation lock is held."""

    async def command(self, body: CommandBody, timeout: float) -> Reply:
        """As `SessionControl.command`, for the attempt's worker."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """Events of the attempt's worker in order; ends when the worker is gone."""
        ...

    async def promote(self, guard: PromotionGuard | None = None) -> None:
        """Make this attempt's store the session's (one row: generation + 1, store_url) and its worker the session's.
        The previous login's worker is ended first and its store deleted after. If `guard` raises, so does this, and
        the attempt is still to be discarded."""
        ...

    async def discard(self) -> None:
        """End the worker and delete the attempt's store; the session stays as it was. A device that the phone has
        accepted already is unlinked at WhatsApp first."""
        ...


class SessionControl(Protocol):
    """Every method raises `ProblemError`: 404: unknown session, 409: names who holds it, 503: no fork server."""

    async def create(self, session: str, name: str) -> SessionView: ...

    async def list(self) -> list[SessionView]: ...

    def heartbeats(self) -> dict[str, Heartbeat]:
        """What each session's process last reported; who has none is left out."""
        ...

    def states(self) -> dict[SessionState, int]:
        """How many sessions are in each state; states without any are left out."""
        ...

    async def get(self, session: str) -> SessionView: ...

    async def start(self, session: str) -> SessionView: ...

    async def stop(self, session: str) -> SessionView: ...

    async def restart(self, session: str) -> SessionView: ...

    async def move(self, session: str) -> SessionView:
        """A new process, only if it runs something else than the fork server does now."""
        ...

    def forks(self) -> ForkHello | None:
        """Who forks the processes; None while it does not answer."""
        ...

    async def rename(self, session: str, name: str) -> SessionView:
        """For people; the id stays. Raises 400 for a name that cannot be shown."""
        ...

    async def restore(self, session: str, order: RestoreSession) -> SessionView:
        """Have it run with a login that came out of a backup."""
        ...

    async def set_proxy(self, session: str, proxy: str | None) -> SessionView:
        """`proxy`: None: the appliance's, empty: none at all. Raises 400 if it does not get through to WhatsApp."""
        ...

    async def capture(self, session: str) -> CaptureView:
        """What is kept of its messages."""
        ...

    async def set_capture(self, session: str, change: CaptureChange) -> CaptureView:
        """From the next message on."""
        ...

    async def remove(self, session: str, *, purge: bool) -> str | None:
        """Unlink the device at WhatsApp, end the worker, call the removal callbacks, delete folder and row.

        Returns why the device could not be unlinked, or None.
        """
        ...

    async def command(self, session: str, body: CommandBody, timeout: float) -> Reply:
        """Raises `ProblemError` 504 if the worker does not answer in time, 409 if the session has no worker."""
        ...

    def on_event(self, callback: EventCallback) -> None:
        """An event is acknowledged to its worker only when every callback has returned; raising means: send again."""
        ...

    def on_remove(self, callback: RemovalCallback) -> None: ...

    async def show_linking(self, session: str, state: SessionState | None) -> None:
        """Queued, pairing, or (None) neither any more: shown for a session that has no login in use. One that is
        unknown is left alone."""
        ...

    async def begin_pairing(self, session: str, attempt_id: str) -> LinkAttempt:
        """Spawn a PAIR worker on the fresh store sessions/<session>/<attempt_id>. 409 names who holds the session."""
        ...
