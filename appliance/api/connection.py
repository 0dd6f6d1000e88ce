"""One connection of a client, which cannot hold the daemon: headers that do not arrive and answers that are not taken
end it, and what is no HTTP is answered with a Problem.

The web framework bounds sizes; the bounds in time are here.
"""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from appliance.api.audit_log import AuditLog, Deed
from appliance.api.gatekeeper import Peer
from appliance.api.http import problem_response
from appliance.api.settings import ApiSettings
from appliance.problems import problem

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

LINGER_S: Final = 1.0
"""What is left of a refused body is thrown away for this long, so that the client can read why; then it is cut."""
LINGER_BYTES: Final = 64 << 20
"""The same as an amount: one that sends gigabytes in a second would take all of a core for it."""


class Connection(web.RequestHandler):
    """`spoken` is called when a request has come, `released` when the connection has ended."""

    __slots__ = (
        *("_audit", "_busy", "_header_timer", "_released", "_settings", "_spoken", "_stall_timer", "_surplus"),
        *("endless", "peer", "token"),
    )

    def __init__(
        self,
        server: web.Server,
        peer: Peer,
        settings: ApiSettings,
        audit: AuditLog,
        spoken: Callable[[], None],
        released: Callable[[], None],
    ) -> None:
        options: dict[str, Any] = {"access_log": None, "auto_decompress": False}
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=settings.idle_s,
            lingering_time=LINGER_S,
            **options,
        )
        self.peer = peer
        self.token: str | None = None
        """Id of the token of the present request."""
        self.endless = False
        """Whether the present request has no end: of a token that is revoked, it is cut."""
        self._settings = settings
        self._audit = audit
        self._spoken = spoken
        self._released = released
        self._busy = False
        self._surplus = 0
        """Bytes since the last request was answered."""
        self._header_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A request has arrived with all its headers."""
        self._spoken()
        self._busy = True
        self._surplus = 0
        self._header_timer = _stop(self._header_timer)

    def end(self) -> None:
        """It has been answered."""
        self._busy = False

    def cut(self, why: str) -> None:
        """End the connection at once, and have it recorded."""
        self._audit.refuse(Deed(self.peer.who, self.peer.door, self.peer.address, why))
        if self.transport is not None:
            self.transport.abort()

    # ---- what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._await_header()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._header_timer = _stop(self._header_timer)
        self._stall_timer = _stop(self._stall_timer)
        super().connection_lost(exc)
        self._released()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._busy:
            self._surplus += len(data)
            if self._surplus > LINGER_BYTES:
                self.cut("body_too_large")
                return
        if self._messages:  # whole; `begin` may come late where the event loop is held up, and the timer before it
            self._header_timer = _stop(self._header_timer)
        elif not self._busy and self._header_timer is None:
            self._await_header()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_timer = self._loop.call_later(self._settings.stall_s, self.cut, "slow_reader")

    def resume_writing(self) -> None:
        self._stall_timer = _stop(self._stall_timer)
        super().resume_writing()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = http.HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it may repeat what the client sent
    ) -> web.StreamResponse:
        """What is no HTTP, or has headers beyond all bounds (RFC 9110, 15.5.1)."""
        self._header_timer = _stop(self._header_timer)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already") from exc
        self._audit.refuse(Deed(self.peer.who, self.peer.door, self.peer.address, "malformed_request", status=status))
        detail = "This is not HTTP/1.1 as it should be, or its headers are too large."
        response = problem_response(problem("malformed", "Bad request", status, detail, remedy="Correct the request."))
        response.force_close()
        return response

    def log_exception(self, *arguments: Any, **more: Any) -> None:
        self.logger.error(*arguments, **more)

    def _await_header(self) -> None:
        self._header_timer = self._loop.call_later(self._settings.header_s, self.cut, "slow_header")


def _stop(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel a timer; what takes its place is none."""
    if timer is not None:
        timer.cancel()
    return None
