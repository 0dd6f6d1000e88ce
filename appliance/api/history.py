"""/v1/history, /v1/uptime and the logs of sessions: what happened, how reliable it is, what its process says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from appliance.api.routes import Call, Route, get
from appliance.history.ledger import Query
from appliance.history.logs import StoreOf, follow
from appliance.history.service import HistoryService
from appliance.log_tail import Tail
from appliance.model_api import SessionId
from appliance.model_history import HistoryPage, HistoryQuery, HistoryStats, LogQuery, UptimeList, UptimeQuery
from appliance.problems import ProblemError, invalid
from appliance.sessions.reasons import DisconnectReason

_TEXT: Final = "text/plain"
_CSV: Final = "text/csv"


class HistoryResource:
    def __init__(self, history: HistoryService, store_of: StoreOf) -> None:
        self._history = history
        self._store_of = store_of

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/history", self.page),
            get("/v1/history.csv", self.csv, produces=_CSV, endless=True),
            get("/v1/history/stats", self.stats),
            get("/v1/uptime", self.uptime),
            get("/v1/sessions/{session}/log", self.log, produces=_TEXT, endless=True),
        )

    async def page(self, query: HistoryQuery) -> HistoryPage:
        """The ledger of disconnections, newest first."""
        return await self._history.page(_rows(query), query.limit)

    async def csv(self, call: Call, query: HistoryQuery) -> web.StreamResponse:
        """All disconnections that match as CSV; `limit` does not apply."""
        rows = _rows(query)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8; header=present",
                "Content-Disposition": 'attachment; filename="disconnections.csv"',
            }
        )
        await response.prepare(call.request)
        async for piece in self._history.export_csv(rows):
            await response.write(piece)
        return response

    async def stats(self, query: HistoryQuery) -> HistoryStats:
        """How often, why, and how long it took to be back."""
        return await self._history.stats(_rows(query))

    async def uptime(self, query: UptimeQuery) -> UptimeList:
        """Shares of the time online, slot by slot."""
        return UptimeList(strips=self._history.uptime(query.span, query.session, query.parts))

    async def log(self, call: Call, session: SessionId, query: LogQuery) -> web.StreamResponse:
        """Lines of the session's log as text, masked.

        With `follow` it goes on until the client leaves or the session is removed.
        """
        store, request = await self._store_of(session), call.request
        response = web.StreamResponse(
            headers={"Content-Type": f"{_TEXT}; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
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
