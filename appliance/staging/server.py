"""The far end of every tunnel: TLS, and behind it the chat or the media host, by the name that was dialled."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from typing import Final

from aiohttp import web

from appliance.staging import tls
from appliance.staging.chat import ChatServer
from appliance.staging.media_host import MAX_UPLOAD, MediaHost
from appliance.staging.proxy import Tunnel

TLS_TIMEOUT_S: Final = 15.0
"""For a handshake on a busy small server."""
KEEPALIVE_S: Final = 5.0
"""For idle connections to the media host: the engine leaves one open after every download, up to a dozen for each
account, and sixty accounts' worth of TLS buffers is a hundred megabytes."""
SHUTDOWN_TIMEOUT_S: Final = 1.0
"""For requests that are under way when the network stops; those that hang on purpose are cancelled then."""


class TunnelServer:
    """Serves HTTP over TLS on sockets that it is given; one small HTTP server each, which knows its tunnel."""

    def __init__(self, context: ssl.SSLContext, chat: ChatServer, media: MediaHost) -> None:
        self._context = context
        self._chat = chat
        self._media = media
        self._servers: dict[int, web.Server] = {}

    async def serve(self, tunnel: Tunnel, inner: socket.socket) -> None:
        """Begin to serve; returns when TLS stands, or has failed."""
        loop = asyncio.get_running_loop()
        server: web.Server = web.Server(
            functools.partial(self._request, tunnel),
            request_factory=functools.partial(web.BaseRequest, loop=loop, client_max_size=MAX_UPLOAD),
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
        )
        self._servers[tunnel.number] = server
        try:
            await loop.connect_accepted_socket(server, inner, ssl=self._context, ssl_handshake_timeout=TLS_TIMEOUT_S)
        except OSError as error:  # TLS errors are OSErrors; the client went away, or does not trust us
            tunnel.close(f"tls: {error}")

    def forget(self, tunnel: Tunnel) -> None:
        """The tunnel is gone."""
        self._servers.pop(tunnel.number, None)

    async def stop(self) -> None:
        await asyncio.gather(*(server.shutdown(SHUTDOWN_TIMEOUT_S) for server in self._servers.values()))

    async def _request(self, tunnel: Tunnel, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/ws/chat" and request.host.partition(":")[0] == tls.CHAT_HOST:
            return await self._chat.serve(request, tunnel)
        return await self._media.handle(request, tunnel)
