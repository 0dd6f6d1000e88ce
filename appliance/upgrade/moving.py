"""Moves sessions to the code that the fork server has, one after the other, and looks whether they are well there.

All that it needs it asks the API, so that it is the same whether the daemon was restarted in between or not. A session
counts as well there when its own process names the new code, its state is `online` (which is only ever said on
evidence), and something was received from WhatsApp since.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from appliance.client import ApiError, ApplianceClient, ClientError
from appliance.model import SessionState, SessionView
from appliance.upgrade.faults import Fault, UpgradeError

ONLINE_WITHIN_S: Final = 60.0
"""From the order to move until it is online again: a second or two, and what a busy machine takes."""
BUSY_S: Final = 330.0
"""A session that somebody is linking is waited for: an attempt ends within `pairing.job_limit_s` (300)."""
AWAY_S: Final = 60.0
"""How long the daemon may be away meanwhile: it may be started again, for whatever reason."""
PAUSE_S: Final = 0.3
"""Between two looks. Events would tell sooner, but their stream ends with the daemon that is being replaced."""
_LIVES: Final = frozenset({SessionState.ONLINE, SessionState.DEGRADED})
_WHATSAPPS_WORD: Final = frozenset(
    {SessionState.NEEDS_PAIRING, SessionState.REPLACED, SessionState.BANNED, SessionState.STOPPED, SessionState.NEW}
)
"""What no release can help: somebody removed the device, or stopped it, at that very moment."""
_FALLEN: Final = frozenset({SessionState.FAILED, SessionState.COOLING, SessionState.RECONNECTING})
"""Where a session is that could not get online for a while."""

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Sessions that have the code now, and all that shall have it."""


class Mover:
    """`socket`: of the daemon's API."""

    def __init__(self, socket: Path, progress: Progress = lambda _done, _all: None) -> None:
        self._socket = socket
        self._progress = progress

    async def canaries(self, build: str, count: int, watch_s: float) -> list[str]:
        """Move `count` sessions (or as many as are online) and watch them for so long; returns which they are.

        Raises UpgradeError as soon as one of them is not well with the new code.
        """
        async with self._api() as api:
            views = await self._sessions(api)
            chosen = choose_canaries(views, build, count)
            for number, session in enumerate(chosen):
                self._progress(number, len(chosen))
                await self._move(api, session, build, Fault.CANARY_FAILED)
            self._progress(len(chosen), len(chosen))
            await self._watch(api, chosen, build, watch_s)
        return chosen

    async def everyone(self, build: str) -> list[str]:
        """Move all that are left; returns the sessions that could not be moved, through no fault of the code.

        Raises UpgradeError if one that was online does not come back.
        """
        left: list[str] = []
        async with self._api() as api:
            views = [view for view in await self._sessions(api) if view.pid is not None]
            waiting = [view for view in views if view.build != build]
            done = len(views) - len(waiting)
            for view in sorted(waiting, key=lambda view: view.id):
                self._progress(done, len(views))
                moved = await self._move(api, view.id, build, Fault.SESSION_FAILED, online=view.state in _LIVES)
                if not moved:
                    left.append(view.id)
                done += moved
            self._progress(done, len(views))
        return left

    async def revive(self, since: float) -> list[str]:
        """Start the sessions that have fallen since that time (the other code could not hold them), and wait until they
        are online; returns those that are not."""
        lost: list[str] = []
        async with self._api() as api:
            for view in await self._sessions(api):
                if not view.wanted or view.state not in _FALLEN or view.since < since:
                    continue
                with contextlib.suppress(ApiError):  # whether it comes online is what counts
                    await self._patiently(functools.partial(api.start_session, view.id))
                if not await self._comes_online(api, view.id):
                    lost.append(view.id)
        return lost

    async def _comes_online(self, api: ApplianceClient, session: str) -> bool:
        until = time.monotonic() + ONLINE_WITHIN_S
        while time.monotonic() < until:
            view = await self._look(api, session)
            if view is None or view.state is SessionState.ONLINE:
                return True
            await asyncio.sleep(PAUSE_S)
        return False

    # ---- one session

    async def _move(self, api: ApplianceClient, session: str, build: str, fault: Fault, *, online: bool = True) -> bool:
        """Until it runs the code, and is online again if it was. False: it is gone, or somebody else's affair now."""
        started = time.monotonic()
        view = await self._order(api, session)
        while view is not None:
            if view.build == build and (not online or _is_well(view)):
                return True
            if view.pid is None and not online:
                return True  # whatever starts from now on has the new code
            if view.state in _WHATSAPPS_WORD:
                return False
            if view.state is SessionState.FAILED or time.monotonic() - started > ONLINE_WITHIN_S:
                raise UpgradeError(fault, _complaint(view, build), f"amda logs {session}; amda session show {session}")
            await asyncio.sleep(PAUSE_S)
            ask = self._look if view.build in (None, build) else self._order
            view = await ask(api, session)
        return False

    async def _order(self, api: ApplianceClient, session: str) -> SessionView | None:
        """Have it move; whoever links it just now is waited for. None: it is gone, or being linked for too long."""
        started = time.monotonic()
        while True:
            try:
                return await self._patiently(lambda: api.move_session(session))
            except ApiError as error:
                if error.problem.status == 404 or (error.problem.status == 409 and time.monotonic() - started > BUSY_S):
                    return None
                if error.problem.status != 409:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _look(self, api: ApplianceClient, session: str) -> SessionView | None:
        try:
            return await self._patiently(lambda: api.session(session))
        except ApiError as error:
            if error.problem.status == 404:
                return None
            raise

    async def _watch(self, api: ApplianceClient, sessions: Iterable[str], build: str, watch_s: float) -> None:
        """They must be well to the end of that time, in the processes that they have now."""
        before = {session: await self._look(api, session) for session in sessions}
        until = time.monotonic() + watch_s
        while before:
            last = time.monotonic() >= until
            for session, then in before.items():
                now = await self._look(api, session)
                if then is None or now is None:
                    continue
                if now.pid != then.pid or now.disconnections_today > then.disconnections_today + 1:
                    raise UpgradeError(
                        Fault.CANARY_FAILED,
                        f"{session} did not stay: {now.state}, {now.detail or now.meaning}",
                        f"amda logs {session}; amda history --session {session}",
                    )
                if last and not _is_well(now) and now.state not in _WHATSAPPS_WORD:
                    raise UpgradeError(Fault.CANARY_FAILED, _complaint(now, build), f"amda logs {session}")
            if last:
                return
            await asyncio.sleep(min(PAUSE_S, max(0.0, until - time.monotonic())))

    # ---- the API

    @contextlib.asynccontextmanager
    async def _api(self) -> AsyncIterator[ApplianceClient]:
        try:
            async with ApplianceClient(self._socket) as api:
                yield api
        except ClientError as error:
            raise UpgradeError(Fault.NOT_RUNNING, str(error), error.remedy or "journalctl -u amda") from error

    async def _sessions(self, api: ApplianceClient) -> list[SessionView]:
        return await self._patiently(api.sessions)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """A daemon that is away is waited for; what it refuses is its answer."""
        until = time.monotonic() + AWAY_S
        while True:
            try:
                return await ask()
            except ApiError as error:
                if error.problem.status != 503 or time.monotonic() > until:
                    raise
            except ClientError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(PAUSE_S)


def choose_canaries(views: list[SessionView], build: str, count: int) -> list[str]:
    """Those that have the code already come first (this may be the second try), then whoever has been online longest:
    what befalls a session that was steady is the code's doing."""
    able = [view for view in views if view.state is SessionState.ONLINE]
    able.sort(key=lambda view: (view.build != build, view.since, view.id))
    return [view.id for view in able[:count]]


def _is_well(view: SessionView) -> bool:
    return view.state is SessionState.ONLINE and view.last_traffic_at is not None


def _complaint(view: SessionView, build: str) -> str:
    what = f"{view.state}, {view.detail or view.meaning}"
    if view.build not in (None, build):
        return f"{view.id} does not get the new code: it runs {view.build} ({what})"
    return f"{view.id} is not online with the new code after {ONLINE_WITHIN_S:.0f} s: {what}"
