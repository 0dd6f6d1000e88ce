"""The client's calls about history, alerts, persons and logs; `client.ApplianceClient` has them all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from appliance.client_wire import BrokenOffError, Calls, query_of
from appliance.model_history import (
    AlertList,
    AlertRule,
    AlertView,
    Disconnection,
    HistoryPage,
    HistoryStats,
    LogEntry,
    LogLevel,
    LogSource,
    PersonRequest,
    PersonView,
    RuleList,
    RuleView,
    SilenceList,
    SilenceRequest,
    SilenceView,
    TrialOutcome,
    TrialOutcomes,
    TrialRequest,
    UptimeList,
    UptimeSpan,
    UptimeStrip,
)

_PAGE: Final = 1000


class HistoryCalls(Calls):
    """Mixed into the client, which says how a request is made."""

    async def history(
        self,
        *,
        session: str | None = None,
        reason: str | None = None,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> HistoryPage:
        """Disconnections, newest first."""
        query = query_of(session=session, reason=reason, since=since, until=until, before=before, limit=limit)
        return await self._call("GET", "/v1/history", HistoryPage, None, query)

    async def all_history(
        self, *, session: str | None = None, reason: str | None = None, since: float | None = None
    ) -> AsyncIterator[Disconnection]:
        """Every one that matches, newest first, page by page."""
        before = None
        while True:
            page = await self.history(session=session, reason=reason, since=since, before=before, limit=_PAGE)
            for item in page.items:
                yield item
            if (before := page.next) is None:
                return

    async def history_csv(
        self, *, session: str | None = None, reason: str | None = None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        """The same as CSV, in pieces."""
        query = query_of(session=session, reason=reason, since=since)
        async with self._request("GET", "/v1/history.csv", query, endless=True) as response:
            async for piece in response.pieces():
                yield piece

    async def history_stats(
        self, *, session: str | None = None, reason: str | None = None, since: float | None = None
    ) -> HistoryStats:
        query = query_of(session=session, reason=reason, since=since)
        return await self._call("GET", "/v1/history/stats", HistoryStats, None, query)

    async def uptime(
        self, span: UptimeSpan = UptimeSpan.DAY, session: str | None = None, parts: int | None = None
    ) -> list[UptimeStrip]:
        """Of one session or of all, by name; in so many parts of equal length, without them in the span's slots."""
        query = query_of(span=span, session=session, parts=parts)
        return (await self._call("GET", "/v1/uptime", UptimeList, None, query)).strips

    async def alerts(self, ended_since: float | None = None) -> list[AlertView]:
        """Open ones, and those that ended since then (without it: within a day)."""
        return (await self._call("GET", "/v1/alerts", AlertList, None, query_of(ended_since=ended_since))).alerts

    async def alert_rules(self) -> list[RuleView]:
        return (await self._call("GET", "/v1/alerts/rules", RuleList)).rules

    async def test_alerts(self, session: str | None = None) -> list[TrialOutcome]:
        """Tell the operators, or one session's person, that this is a test."""
        return (await self._call("POST", "/v1/alerts/test", TrialOutcomes, TrialRequest(session=session))).outcomes

    async def acknowledge_alert(self, alert: str) -> AlertView:
        return await self._call("POST", f"/v1/alerts/{alert}/acknowledge", AlertView)

    async def silences(self) -> list[SilenceView]:
        return (await self._call("GET", "/v1/silences", SilenceList)).silences

    async def silence(
        self, duration_s: float, *, rule: AlertRule | None = None, session: str | None = None, comment: str = ""
    ) -> SilenceView:
        body = SilenceRequest(duration_s=duration_s, rule=rule, session=session, comment=comment)
        return await self._call("POST", "/v1/silences", SilenceView, body)

    async def end_silence(self, silence: str) -> None:
        async with self._request("DELETE", f"/v1/silences/{silence}", {}):
            pass

    async def person(self, session: str) -> PersonView:
        return await self._call("GET", f"/v1/sessions/{session}/person", PersonView)

    async def set_person(self, session: str, request: PersonRequest) -> PersonView:
        return await self._call("PUT", f"/v1/sessions/{session}/person", PersonView, request)

    async def remove_person(self, session: str) -> None:
        async with self._request("DELETE", f"/v1/sessions/{session}/person", {}):
            pass

    async def logs(
        self,
        *,
        lines: int = 200,
        follow: bool = False,
        level: LogLevel = LogLevel.INFO,
        source: LogSource | None = None,
        session: str | None = None,
    ) -> AsyncIterator[LogEntry]:
        """Lines of the daemon and of every session's process, masked; with `follow` until the daemon ends."""
        query = query_of(lines=lines, follow=str(follow).lower(), level=level, source=source, session=session)
        async with self._request("GET", "/v1/logs", query, endless=True) as response:
            with contextlib.suppress(BrokenOffError):  # the daemon has ended: so has this
                async for line in response.lines():
                    yield msgspec.json.decode(line, type=LogEntry)

    async def log(self, session: str, *, lines: int = 200, follow: bool = False) -> AsyncIterator[str]:
        """Lines of the session's process, masked; with `follow` until the daemon or the session ends."""
        query = query_of(lines=lines, follow=str(follow).lower())
        async with self._request("GET", f"/v1/sessions/{session}/log", query, endless=True) as response:
            with contextlib.suppress(BrokenOffError):  # the daemon has ended: so has this
                async for line in response.lines():
                    yield line.decode(errors="replace").rstrip("\n")
