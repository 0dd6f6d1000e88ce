"""/v1/sessions: create, list, show, change, start, stop, restart, relink, remove."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from appliance.api.routes import Call, Creates, Route, delete, get, patch, post
from appliance.interfaces import SessionControl
from appliance.media.index import MediaIndex, Usage
from appliance.model import SessionView
from appliance.model_api import (
    CreateSession,
    Removed,
    RemoveQuery,
    Scope,
    SessionId,
    SessionList,
    SessionsQuery,
    SetSession,
)
from appliance.model_backup import RestoreSession
from appliance.model_capture import CaptureChange, CaptureView
from appliance.problems import conflict


class SessionsResource:
    """`limit`: sessions that may exist, just now."""

    def __init__(self, sessions: SessionControl, media: MediaIndex, limit: Callable[[], int]) -> None:
        self._sessions = sessions
        self._media = media
        self._limit = limit

    def routes(self) -> Sequence[Route]:
        creates = Creates[SessionView](name=lambda view: view.id, recall=self.show)
        return (
            get("/v1/sessions", self.list, own_session_check=True),
            post("/v1/sessions", self.create, status=201, creates=creates),
            get("/v1/sessions/{session}", self.show),
            patch("/v1/sessions/{session}", self.change),
            delete("/v1/sessions/{session}", self.remove),
            get("/v1/sessions/{session}/capture", self.capture),
            patch("/v1/sessions/{session}/capture", self.change_capture),
            post("/v1/sessions/{session}/start", self.start),
            post("/v1/sessions/{session}/stop", self.stop),
            post("/v1/sessions/{session}/restart", self.restart),
            post("/v1/sessions/{session}/move", self.move),
            post("/v1/sessions/{session}/restore", self.restore, Scope.ADMIN),
        )

    async def list(self, call: Call, query: SessionsQuery) -> SessionList:
        """Sessions that match, sorted, page by page; all of them, by id, if nothing is asked for."""
        usage = await self._media.usage()
        views = [
            _with_media(view, usage)
            for view in await self._sessions.list()
            if call.caller.session in (None, view.id) and _matches(view, query)
        ]
        views.sort(key=lambda view: view.id)
        views.sort(key=lambda view: _rank(getattr(view, query.sort)), reverse=query.descending)
        return SessionList(sessions=views[query.offset :][: query.limit], total=len(views))

    async def create(self, body: CreateSession) -> SessionView:
        """A new session; it is linked to an account by a pairing."""
        if len(await self._sessions.list()) >= (limit := self._limit()):
            raise conflict(f"There are {limit} sessions already.", "Remove one, or raise limits.sessions.")
        return await self._sessions.create(body.id, body.name or body.id)

    async def show(self, session: SessionId) -> SessionView:
        """One session: its state, what that means, and what to do."""
        view = await self._sessions.get(session)
        return _with_media(view, await self._media.usage(view.id))

    async def change(self, session: SessionId, body: SetSession) -> SessionView:
        """Change settings of a session; what is left out stays.

        A proxy is tried before it is stored; a session that runs starts anew through it.
        """
        if body.proxy is not msgspec.UNSET:  # first, because it may be refused
            await self._sessions.set_proxy(session, body.proxy)
        if body.name is not msgspec.UNSET:
            await self._sessions.rename(session, body.name)
        return await self.show(session)

    async def capture(self, session: SessionId) -> CaptureView:
        """What is kept of its messages, and which of these settings are its own."""
        return await self._sessions.capture(session)

    async def change_capture(self, session: SessionId, body: CaptureChange) -> CaptureView:
        """Keep something else, from the next message on; what is left out stays, null: as for all sessions."""
        return await self._sessions.set_capture(session, body)

    async def start(self, session: SessionId) -> SessionView:
        """Let it run; a session that is cooling is tried at once."""
        return await self._sessions.start(session)

    async def stop(self, session: SessionId) -> SessionView:
        """Disconnect it until it is started again; it stays linked."""
        return await self._sessions.stop(session)

    async def restart(self, session: SessionId) -> SessionView:
        """Give it a new process and a new connection."""
        return await self._sessions.restart(session)

    async def move(self, session: SessionId) -> SessionView:
        """Give it a process of the release and engine that new processes have; one that has it is left alone.

        That is one planned reconnection, which the ledger calls `moved` and which counts against nobody.
        """
        return await self._sessions.move(session)

    async def restore(self, session: SessionId, body: RestoreSession) -> SessionView:
        """Take a login over that came out of a backup; `amda backup restore --session` brings it."""
        return await self._sessions.restore(session, body)

    async def remove(self, session: SessionId, query: RemoveQuery) -> Removed:
        """Unlink the device at WhatsApp and forget the session; its media stays unless `purge`."""
        note = await self._sessions.remove(session, purge=query.purge)
        return Removed(session=session, purged=query.purge, note=note)


def _matches(view: SessionView, query: SessionsQuery) -> bool:
    if query.state and view.state not in query.state:
        return False
    return query.text is None or query.text.casefold() in f"{view.id}\n{view.name}".casefold()


def _rank(value: str | float | None) -> tuple[bool, str | float]:
    """Sorts what is not known before everything else."""
    return (False, 0) if value is None else (True, value)


def _with_media(view: SessionView, usage: dict[str, Usage]) -> SessionView:
    used = usage.get(view.id, Usage())
    return msgspec.structs.replace(view, media_bytes=used.size, media_count=used.count)
