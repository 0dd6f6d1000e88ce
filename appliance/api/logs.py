"""/v1/logs: what the daemon and the sessions' processes say, in one stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from appliance.api.routes import Call, Route, get
from appliance.history.all_logs import AllLogs
from appliance.model_history import LogsQuery

_LINES: Final = "application/x-ndjson"
_ENCODER: Final = msgspec.json.Encoder()


class LogsResource:
    def __init__(self, logs: AllLogs) -> None:
        self._logs = logs

    def routes(self) -> Sequence[Route]:
        return (get("/v1/logs", self.read, produces=_LINES, endless=True),)

    async def read(self, call: Call, query: LogsQuery) -> web.StreamResponse:
        """The last lines of the daemon and of every session's process, masked; a `LogEntry` on each line.

        With `follow` it goes on until the client leaves. The daemon's lines go back to its start, as far as it keeps
        them; what it said before, journald knows.
        """
        request = call.request
        response = web.StreamResponse(
            headers={"Content-Type": _LINES, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        async for entries in self._logs.read(query):
            if request.transport is None or request.transport.is_closing():
                break
            if entries:
                await response.write(_ENCODER.encode_lines(entries))
        return response
