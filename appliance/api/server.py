"""The API's doors: for now the unix socket, which the folder's mode and its own (0660) guard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from appliance.api.dispatch import CALLER, handler_of
from appliance.api.http import mark_begun, problems
from appliance.api.routes import Caller, Route
from appliance.config import Limits
from appliance.model_api import Scope
from appliance.sockets import bind_unix, remove_socket

SOCKET_MODE: Final = 0o660
"""The appliance's user and group: whoever may use the API, and nobody else."""
SHUTDOWN_S: Final = 2.0
"""What running requests get to end when the daemon stops: its restart must take two seconds."""
_LOCAL: Final = Caller(who="operator", door="unix", address="", scope=Scope.ADMIN)
"""Whoever may open the unix socket may do everything."""


class ApiServer:
    """Serves the table of routes on a unix socket between `start` and `stop`."""

    def __init__(self, routes: Sequence[Route], socket: Path, limits: Limits) -> None:
        self._app = web.Application(middlewares=[problems(), _identify], client_max_size=limits.request_bytes)
        self._app.on_response_prepare.append(mark_begun)
        for route in routes:
            handler = handler_of(route, limits.request_s)
            if route.method == "GET":
                self._app.router.add_get(route.path, handler, allow_head=not route.endless)
            else:
                self._app.router.add_route(route.method, route.path, handler)
        self._socket = socket
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=SHUTDOWN_S)

    async def start(self) -> None:
        """Raises PeerError if another process listens on the socket, OSError if the folder cannot be used."""
        await self._runner.setup()
        sock = bind_unix(self._socket, mode=SOCKET_MODE)
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        await self._runner.cleanup()
        remove_socket(self._socket)


@web.middleware
async def _identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[CALLER] = _LOCAL
    return await handler(request)
