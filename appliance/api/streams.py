"""Server-sent events (WHATWG HTML, 9.2): what every stream of the API begins with and keeps it alive."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from appliance.api.routes import EVENT_STREAM

COMMENT_S: Final = 15.0
"""A line that says nothing is sent this often, so that proxies keep the connection and a dead client is noticed."""
COMMENT: Final = b":\n\n"


async def open_stream(request: web.Request) -> web.StreamResponse:
    """A response that has begun, so that the client knows that it listens."""
    response = web.StreamResponse(
        headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    await response.write(b": the stream begins\n\n")
    return response
