"""The API's doors: for now the unix socket, which the folder's mode and its own (0660) guard."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from aiohttp import web

from appliance.api import events, history, media
from appliance.api.http import STREAMING, problems
from appliance.config import Limits
from appliance.sockets import bind_unix, remove_socket

SOCKET_MODE: Final = 0o660
"""The appliance's user and group: whoever may use the API, and nobody else."""
SHUTDOWN_S: Final = 2.0
"""What running requests get to end when the daemon stops: its restart must take two seconds."""


class ApiServer:
    """Serves resources on a unix socket between `start` and `stop`."""

    def __init__(self, routes: Iterable[web.AbstractRouteDef], socket: Path, limits: Limits) -> None:
        self._app = web.Application(middlewares=[problems(limits.request_s)], client_max_size=limits.request_bytes)
        self._app[STREAMING] = frozenset({events.PATH, media.CONTENT_PATH, history.LOG_PATH, history.CSV_PATH})
        self._app.add_routes(routes)
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
