"""Who may see the page: whoever knows the token, from a page of ours and from nobody else's.

The token stands in the address once. It is exchanged for a cookie that no script can read and no other site can send
(`HttpOnly`, `SameSite=Strict`); the websocket, which browsers let every site open, asks for that cookie and for the
page's own origin. What a request names as its host must be this server: a name that was pointed at loopback afterwards
(DNS rebinding) is not.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
TOKEN_BYTES: Final = 32
TOKEN_MIN: Final = 32
"""Characters of a token that somebody has chosen: guessing it must be hopeless, because nothing slows guesses down."""
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self' {socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The terminal emulator writes its own styles; everything else comes from here, and nothing from elsewhere."""
_AUTHORITY: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
"""A host and a port, and nothing that would mean something in a header or a page."""
LOGGED_IN: Final = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={path}">
<title>AMDA</title>"""
"""Leads on from within: a cookie that is strict would not be sent with a redirection that began on another site."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where the page is reached. `public`: its address behind a proxy, such as `https://amda.example.org`."""

    host: str
    port: int
    encrypted: bool = False
    public: str | None = None

    @property
    def scheme(self) -> str:
        return "https" if self.encrypted else "http"

    @property
    def secure(self) -> bool:
        """Whether browsers speak TLS to it."""
        return self.encrypted or (self.public or "").startswith("https:")

    @property
    def address(self) -> str:
        """For people."""
        if self.public is not None:
            return self.public.rstrip("/") + "/"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/"

    def knows(self, authority: str) -> bool:
        """Whether a request may be for this host. Its port may be another one: that of a tunnel's other end."""
        if not _AUTHORITY.fullmatch(authority):
            return False
        try:
            name = urlsplit(f"//{authority}").hostname
        except ValueError:
            return False
        known = {self.host.lower(), *(LOOPBACK if is_loopback(self.host) else ())}
        if self.public is not None:
            known.add(urlsplit(self.public).hostname or "")
        return name in known or (self.public is None and self.host in ("0.0.0.0", "::"))  # noqa: S104 - named, not bound

    def is_own_page(self, origin: str | None, authority: str) -> bool:
        """Whether a script of our own page asks."""
        own = {f"{self.scheme}://{authority}"}
        if self.public is not None:
            parts = urlsplit(self.public)
            own.add(f"{parts.scheme}://{parts.netloc}")
        return origin in own


def is_loopback(host: str) -> bool:
    return host in LOOPBACK or host.startswith("127.")


class Guard:
    """In front of every request. `denied` paints the page for those who have no token."""

    def __init__(self, door: Door, token: str, denied: Callable[[web.Request, int], str]) -> None:
        self._door = door
        self._token = token.encode()
        self._cookie = secrets.token_urlsafe(TOKEN_BYTES)
        """Not the token itself: it dies with this server."""
        self._denied = denied

    @property
    def cookie_name(self) -> str:
        """Cookies do not tell ports apart: two servers on one machine would log each other out."""
        return f"amda-web-{self._door.port}"

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await self._answer(request, handler)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise
        if not response.prepared:
            response.headers.update(HEADERS)
            known = self._door.knows(request.host)
            socket = f"{'wss' if self._door.secure else 'ws'}://{request.host}" if known else "'self'"
            response.headers["Content-Security-Policy"] = POLICY.format(socket=socket)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._door.knows(request.host):
            return self._refuse(request, 421)
        if (given := request.query.get("token")) is not None:
            return self._log_in(request, given)
        if not hmac.compare_digest(request.cookies.get(self.cookie_name, "").encode(), self._cookie.encode()):
            return self._refuse(request, 401)
        if request.headers.get("Upgrade") and not self._door.is_own_page(request.headers.get("Origin"), request.host):
            return self._refuse(request, 403)
        return await handler(request)

    def _log_in(self, request: web.Request, given: str) -> web.Response:
        if not hmac.compare_digest(given.encode(), self._token):
            return self._refuse(request, 403)
        response = web.Response(text=LOGGED_IN.format(path="/"), content_type="text/html")
        response.set_cookie(
            self.cookie_name, self._cookie, httponly=True, samesite="Strict", secure=self._door.secure, path="/"
        )
        return response

    def _refuse(self, request: web.Request, status: int) -> web.Response:
        return web.Response(status=status, text=self._denied(request, status), content_type="text/html")
