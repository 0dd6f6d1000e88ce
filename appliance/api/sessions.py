"""/v1/sessions: create, list, show, change, start, stop, restart, remove."""

from __future__ import annotations

import http

import msgspec
from aiohttp import web

from appliance.api.http import answer, read_body, read_query
from appliance.interfaces import SessionControl
from appliance.media.index import MediaIndex, Usage
from appliance.model import SessionView
from appliance.model_api import CreateSession, Removed, RemoveQuery, SessionList, SetSession
from appliance.problems import conflict


class SessionsResource:
    """`limit`: sessions that may exist."""

    def __init__(self, sessions: SessionControl, media: MediaIndex, limit: int) -> None:
        self._sessions = sessions
        self._media = media
        self._limit = limit

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/sessions", self.list_sessions),
            web.post("/v1/sessions", self.create),
            web.get("/v1/sessions/{id}", self.show),
            web.patch("/v1/sessions/{id}", self.change),
            web.delete("/v1/sessions/{id}", self.remove),
            web.post("/v1/sessions/{id}/start", self.start),
            web.post("/v1/sessions/{id}/stop", self.stop),
            web.post("/v1/sessions/{id}/restart", self.restart),
        ]

    async def list_sessions(self, _request: web.Request) -> web.Response:
        usage = await self._media.usage()
        views = [_with_media(view, usage) for view in await self._sessions.list()]
        return answer(SessionList(sessions=views))

    async def create(self, request: web.Request) -> web.Response:
        body = await read_body(request, CreateSession)
        if len(await self._sessions.list()) >= self._limit:
            raise conflict(f"There are {self._limit} sessions already.", "Remove one, or raise limits.sessions.")
        return answer(await self._sessions.create(body.id, body.name or body.id), http.HTTPStatus.CREATED)

    async def show(self, request: web.Request) -> web.Response:
        view = await self._sessions.get(request.match_info["id"])
        return answer(_with_media(view, await self._media.usage(view.id)))

    async def change(self, request: web.Request) -> web.Response:
        body, session = await read_body(request, SetSession), request.match_info["id"]
        if body.proxy is msgspec.UNSET:
            return await self.show(request)
        return answer(await self._sessions.set_proxy(session, body.proxy))

    async def start(self, request: web.Request) -> web.Response:
        return answer(await self._sessions.start(request.match_info["id"]))

    async def stop(self, request: web.Request) -> web.Response:
        return answer(await self._sessions.stop(request.match_info["id"]))

    async def restart(self, request: web.Request) -> web.Response:
        return answer(await self._sessions.restart(request.match_info["id"]))

    async def remove(self, request: web.Request) -> web.Response:
        query = read_query(request, RemoveQuery)
        session = request.match_info["id"]
        note = await self._sessions.remove(session, purge=query.purge)
        return answer(Removed(session=session, purged=query.purge, note=note))


def _with_media(view: SessionView, usage: dict[str, Usage]) -> SessionView:
    used = usage.get(view.id, Usage())
    return msgspec.structs.replace(view, media_bytes=used.size, media_count=used.count)
