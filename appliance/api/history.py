"""/v1/history, /v1/uptime and the logs of sessions: what happened, how reliable it is, what its process says."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from appliance.api.http import answer, read_query
from appliance.history.ledger import Query
from appliance.history.logs import StoreOf, follow
from appliance.history.service import HistoryService
from appliance.log_tail import Tail
from appliance.model_history import HistoryQuery, LogQuery, UptimeList, UptimeQuery
from appliance.problems import ProblemError, invalid
from appliance.sessions.reasons import DisconnectReason

LOG_PATH: Final = "/v1/sessions/{id}/log"
CSV_PATH: Final = "/v1/history.csv"
_TEXT: Final = "text/plain; charset=utf-8"


class HistoryResource:
    def __init__(self, history: HistoryService, store_of: StoreOf) -> None:
        self._history = history
        self._store_of = store_of

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/history", self.page),
            web.get(CSV_PATH, self.csv),
            web.get("/v1/history/stats", self.stats),
            web.get("/v1/uptime", self.uptime),
            web.get(LOG_PATH, self.log),
        ]

    async def page(self, request: web.Request) -> web.Response:
        query = read_query(request, HistoryQuery)
        return answer(await self._history.page(_rows(query), query.limit))

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """Everything that matches; `limit` does not apply."""
        query = _rows(read_query(request, HistoryQuery))
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8; header=present",
                "Content-Disposition": 'attachment; filename="disconnections.csv"',
            }
        )
        await response.prepare(request)
        async for piece in self._history.export_csv(query):
            await response.write(piece)
        return response

    async def stats(self, request: web.Request) -> web.Response:
        return answer(await self._history.stats(_rows(read_query(request, HistoryQuery))))

    async def uptime(self, request: web.Request) -> web.Response:
        query = read_query(request, UptimeQuery)
        return answer(UptimeList(strips=self._history.uptime(query.span, query.session)))

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Lines of text, masked; with `follow` until the client leaves or the session is removed."""
        query, session = read_query(request, LogQuery), request.match_info["id"]
        store = await self._store_of(session)
        response = web.StreamResponse(
            headers={"Content-Type": _TEXT, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        if not query.follow:
            with Tail(store, query.lines) as tail:
                await response.write(_text(tail.read()))
            return response
        try:
            async for lines in follow(session, self._store_of, query.lines):
                if lines:
                    await response.write(_text(lines))
                elif request.transport is None or request.transport.is_closing():
                    break
        except ProblemError as gone:
            await response.write(f"({gone})\n".encode())
        return response


def _rows(query: HistoryQuery) -> Query:
    try:
        reason = None if query.reason is None else DisconnectReason(query.reason)
    except ValueError:
        known = ", ".join(DisconnectReason)
        raise invalid("reason", f"reason: {query.reason} is not a reason.", f"Use one of: {known}") from None
    return Query(session=query.session, reason=reason, since=query.since, until=query.until, before=query.before)


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
