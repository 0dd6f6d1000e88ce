"""The web server of `amda web`: one page, its terminal, and a websocket to an `amda-tui` for each page that is open."""

from __future__ import annotations

import asyncio
import contextlib
import html
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import textual_serve
from aiohttp import WSCloseCode, WSMsgType, web

from appliance.language import _, current_language
from tui.web.guard import Door, Guard
from tui.web.viewer import Viewer

PAGE: Final = Path(__file__).parent
STATIC: Final = Path(textual_serve.__file__).parent / "static"
MESSAGE_BYTES: Final = 64 * 1024
"""Of one message of a browser: what somebody may paste."""
HEARTBEAT_S: Final = 15.0
"""A browser that answers no ping for so long is gone, and its viewer ends."""
SHUTDOWN_S: Final = 5.0
WIDTHS: Final = (20, 500)
HEIGHTS: Final = (5, 200)
"""Cells that a terminal may have, whatever a browser says."""
FONT: Final = (6, 16, 48)
"""Pixels of a cell's height: least, usual, most; ?fontsize=N chooses, because a phone's screen is small."""
FILES: Final = {"page.css": "text/css", "page.js": "text/javascript"}


class Size(msgspec.Struct, frozen=True):
    width: int
    height: int

    def bounded(self) -> Size:
        return Size(_between(self.width, *WIDTHS), _between(self.height, *HEIGHTS))


class WebServer:
    """An asynchronous context manager. `command`: starts one viewer; `viewers_max`: each costs some 60 MiB."""

    def __init__(
        self, door: Door, token: str, command: Sequence[str], *, viewers_max: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.door = door
        self._token = token
        self._command = command
        self._viewers_max = viewers_max
        self._tls = tls
        self._open: dict[Viewer, web.WebSocketResponse] = {}
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> WebServer:
        """Raises OSError if the address cannot be used. `door.port` is the real one from then on."""
        family = socket.AF_INET6 if ":" in self.door.host else socket.AF_INET
        listener = socket.create_server((self.door.host, self.door.port), family=family)
        self.door = msgspec.structs.replace(self.door, port=listener.getsockname()[1])
        guard = Guard(self.door, self._token, denied)
        app = web.Application(middlewares=[guard.middleware], client_max_size=MESSAGE_BYTES)
        app.router.add_get("/", self._page)
        app.router.add_get("/ws", self._websocket)
        app.router.add_get("/page/{name}", _own_file)
        app.router.add_static("/static", STATIC)
        # No log of requests: the token would stand in it.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.SockSite(self._runner, listener, ssl_context=self._tls).start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Every page is told, and every viewer is gone when this returns."""
        viewers = list(self._open.items())
        closing = (page.close(code=WSCloseCode.GOING_AWAY, drain=False) for _viewer, page in viewers)
        await asyncio.gather(*closing, *(viewer.stop() for viewer, _page in viewers), return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def viewers(self) -> int:
        """Pages that are open."""
        return len(self._open)

    async def _page(self, request: web.Request) -> web.Response:
        if len(self._open) >= self._viewers_max:
            return web.Response(status=503, text=denied(request, 503), content_type="text/html")
        font = request.query.get("fontsize", "")
        scheme = "wss" if self.door.secure else "ws"
        text = _filled(
            "page.html",
            socket=f"{scheme}://{request.host}/ws",
            font=str(_between(int(font), FONT[0], FONT[2]) if font.isascii() and font.isdigit() else FONT[1]),
            wait=_("Starting the interface …"),
            over=_("This page is over. Nothing was stopped by it: every session goes on."),
            again=_("Open it again"),
        )
        return web.Response(text=text, content_type="text/html")

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if len(self._open) >= self._viewers_max:
            return web.Response(status=503, text=denied(request, 503), content_type="text/html")
        page = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES)
        viewer = Viewer(self._command, page.send_bytes, page.send_str, page.close)
        self._open[viewer] = page
        try:
            await page.prepare(request)
            size = _size(request.query.get("width", ""), request.query.get("height", ""))
            await viewer.start(size.width, size.height)
            await _relay(page, viewer)
        finally:
            try:
                await asyncio.shield(viewer.stop())
            finally:
                del self._open[viewer]
        return page


async def _relay(page: web.WebSocketResponse, viewer: Viewer) -> None:
    """What a browser sends, until it or its viewer ends. Whoever speaks another language than our page is cut."""
    async for message in page:
        if message.type is not WSMsgType.TEXT:
            continue
        try:
            kind, *values = msgspec.json.decode(message.data, type=list[Any])
            match kind, values:
                case "stdin", [str(text)]:
                    await viewer.send_bytes(text.encode("utf-8", "replace"))
                case "resize", [dict(given)]:
                    size = msgspec.convert(given, Size).bounded()
                    await viewer.set_terminal_size(size.width, size.height)
                case "ping", [str(text)]:
                    await page.send_json(["pong", text])
                case "focus", []:
                    await viewer.focus()
                case "blur", []:
                    await viewer.blur()
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError):
            await page.close(code=WSCloseCode.UNSUPPORTED_DATA)
            return


async def _own_file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    return web.Response(body=(PAGE / name).read_bytes(), content_type=FILES[name], charset="utf-8")


def denied(_request: web.Request, status: int) -> str:
    """The page for those who may not see the other one."""
    if status == 503:
        what = _("As many pages are open as this server allows.")
        remedy = _("Close one, or start it anew with a larger --viewers.")
    elif status == 421:
        what = _("This server is not known by the name in the address.")
        remedy = _("Open the address that amda web has shown; behind a proxy, name it with --public-url.")
    else:
        what = _("This page opens only with the token.")
        remedy = _("Open the whole address that amda web has shown when it was started.")
    return _filled("denied.html", what=what, remedy=remedy)


def _filled(name: str, **texts: str) -> str:
    safe = {key: html.escape(text) for key, text in texts.items()}
    return (PAGE / name).read_text(encoding="utf-8").format(language=current_language(), **safe)


def _size(width: str, height: str) -> Size:
    """What the query says; a terminal's usual size where it says nothing that can be used."""
    with contextlib.suppress(ValueError):
        return Size(int(width), int(height)).bounded()
    return Size(80, 24)


def _between(value: int, least: int, most: int) -> int:
    return min(most, max(least, value))
