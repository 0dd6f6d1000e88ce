"""The API's server: its table of routes behind its doors, and what every request passes on the way."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from appliance.api.access import Access
from appliance.api.audit_log import AuditLog, Deed
from appliance.api.connection import Connection
from appliance.api.dispatch import CALLER, SESSION, handler_of
from appliance.api.doors import Door, TcpDoor, UnixDoor
from appliance.api.gatekeeper import Peer, leads_elsewhere, unauthorised
from appliance.api.http import mark_begun, problems, status_of
from appliance.api.routes import Access as RouteAccess
from appliance.api.routes import Caller, Route
from appliance.config import Limits
from appliance.problems import problem

SHUTDOWN_S: Final = 2.0
"""What running requests get to end when the daemon stops: its restart must take two seconds."""
LOOK_AFTER_S: Final = 15.0
"""How often streams of tokens that have expired are looked for, and a renewed certificate."""
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_log = structlog.get_logger(__name__)


class ApiServer:
    """Serves the table of routes between `start` and `stop`; `run()` looks after it."""

    def __init__(self, routes: Sequence[Route], socket: Path, limits: Limits, access: Access) -> None:
        self._access = access
        middlewares = [_connection_in_use, problems(), self._record(routes), _identify(routes, access)]
        self._app = web.Application(middlewares=middlewares, client_max_size=limits.request_bytes)
        self._app.on_response_prepare.append(mark_begun)
        self._add(routes, limits)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        self.tcp = TcpDoor(self._connection, access.audit, access.gatekeeper, access.settings)
        unix = UnixDoor(self._connection, access.audit, socket, access.settings.group)
        self._doors: list[Door] = [unix, self.tcp]
        access.tokens.on_end(self.cut_invalid)

    def _add(self, routes: Sequence[Route], limits: Limits) -> None:
        """Path by path: what a path has no method for is refused there, and not tried on a path with a parameter."""
        router = self._app.router
        for path in dict.fromkeys(route.path for route in routes):
            allowed = []
            for route in (route for route in routes if route.path == path):
                handler = handler_of(route, limits.request_s, self._access.settings.body_s, self._access.repeats)
                methods = ["GET", "HEAD"] if route.method == "GET" and route.has_head else [route.method]
                for method in methods:
                    router.add_route(method, path, handler)
                allowed += methods
            router.add_route("*", path, _refuser(allowed))

    async def start(self) -> None:
        """Raises PeerError if another process listens on the socket, OSError if a door cannot be opened."""
        await self._runner.setup()
        try:
            for door in self._doors:
                await door.open()
        except BaseException:
            await self.stop()
            raise

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        for door in self._doors:
            await door.close()
        await self._runner.cleanup()
        await self._access.close()

    async def run(self) -> None:
        """Cut what is no longer allowed, and renew the certificate; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._access.run())
            group.create_task(self._look_after())

    def cut_invalid(self) -> None:
        """End the streams of tokens that do not work any more; what is short is answered."""
        server = self._runner.server
        for connection in server.connections if server is not None else []:
            if not isinstance(connection, Connection) or connection.token is None or not connection.endless:
                continue
            if not self._access.tokens.works(connection.token):
                connection.cut("token_ended")

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AFTER_S)
            self.cut_invalid()
            try:
                self.tcp.renew_certificate()
            except OSError as error:
                _log.error("the new certificate cannot be used; the old one stays", error=str(error))

    def _connection(self, peer: Peer, spoken: Callable[[], None], released: Callable[[], None]) -> Connection:
        server = self._runner.server
        assert server is not None  # noqa: S101 - the doors are open only between setup and cleanup
        return Connection(server, peer, self._access.settings, self._access.audit, spoken, released)

    def _record(self, routes: Sequence[Route]) -> Middleware:
        """Whatever changes something is recorded: who, from where, what, and how it ended."""
        names = {(route.method, route.path): route.name for route in routes}

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            name = names.get((request.method, _path(request)))
            if request.method in _READING or name is None:
                return await handler(request)
            status = 0
            try:
                response = await handler(request)
                status = response.status
                return response
            except Exception as error:
                status = status_of(error)
                raise
            finally:
                caller = request.get(CALLER)
                if caller is not None and caller.scope is not None:
                    session = request.get(SESSION)
                    deed = Deed(caller.who, caller.door, caller.address, name, request.path, session, status)
                    await self._access.audit.record(deed)

        return middleware


def _refuser(allowed: Sequence[str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


def _identify(routes: Sequence[Route], access: Access) -> Middleware:
    """Who has no token learns nothing but what is public, not even what exists."""
    public = {route.path for route in routes if route.access is RouteAccess.PUBLIC}
    endless = {route.path for route in routes if route.endless}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)  # noqa: S101 - our doors make no others
        caller = access.gatekeeper.identify(request.headers, connection.peer)
        connection.token = caller.token
        connection.endless = _path(request) in endless
        request[CALLER] = caller
        _refuse_what_none_sends(request, caller, access.audit)
        if caller.scope is None and _path(request) not in public:
            raise unauthorised("This needs a token.")
        return await handler(request)

    return middleware


def _refuse_what_none_sends(request: web.Request, caller: Caller, audit: AuditLog) -> None:
    """What no client of ours sends is refused whoever sends it, and is on record: raises ProblemError 400 for a path
    that tries to leave its place, HTTPRequestEntityTooLarge for a body beyond all bounds, before any of it is read."""
    if leads_elsewhere(request.rel_url.raw_path):
        audit.refuse(
            Deed(caller.who, caller.door, caller.address, "path_traversal", status=http.HTTPStatus.BAD_REQUEST)
        )
        detail = "No address of this API looks like this."
        raise problem("no-such-path", "No such address", 400, detail, remedy="GET /v1/openapi.json lists them.")
    if (request.content_length or 0) > request.client_max_size:
        status = http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        audit.refuse(Deed(caller.who, caller.door, caller.address, "body_too_large", status=status))
        raise web.HTTPRequestEntityTooLarge(request.client_max_size, request.content_length or 0)


@web.middleware
async def _connection_in_use(request: web.Request, handler: Handler) -> web.StreamResponse:
    connection = request.protocol
    assert isinstance(connection, Connection)  # noqa: S101 - our doors make no others
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.end()


def _path(request: web.Request) -> str:
    """The route's path as it was declared; empty if there is none."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
