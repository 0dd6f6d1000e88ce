"""The history room as the daemon sees it: what happened, how reliable each session is, and who is told."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from appliance.config import Settings
from appliance.database import Database
from appliance.events import EventBus
from appliance.history.alerts import AlertService
from appliance.history.delivery import Sender
from appliance.history.facts import Live, LiveSource
from appliance.history.ledger import PAGE_MAX, Ledger, Query
from appliance.history.outbox import Outbox
from appliance.history.persons import Persons
from appliance.history.recorder import UptimeRecorder
from appliance.history.settings import DAY_S, HOUR_S
from appliance.history.statistics import history_stats
from appliance.history.uptime import SHAPES
from appliance.model import SessionView
from appliance.model_history import Disconnection, HistoryPage, HistoryStats, UptimeSpan, UptimeStrip
from appliance.problems import invalid, not_found
from appliance.webhooks.service import WebhookService

if TYPE_CHECKING:
    from appliance.sessions.service import SessionService

_PRUNE_S: Final = HOUR_S
"""Retention is counted in days; once an hour is exact enough and costs nothing."""
_log: Final = structlog.get_logger(__name__)


class HistoryService:
    """Call `await load()` before the sessions are loaded, let `run()` work, and `await close()` at the end."""

    def __init__(
        self,
        *,
        database: Database,
        ledger: Ledger,
        bus: EventBus,
        live: LiveSource,
        settings: Settings,
        node: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._recorder = UptimeRecorder(database, clock)
        self._history_settings = settings.history
        self._alert_settings = settings.alerts
        self._webhook_settings = settings.webhooks
        self._live = live
        self._clock = clock
        self._pruned_at: float | None = None
        sender = Sender(clock)
        self.persons = Persons(database, lambda: self._alert_settings)
        self.webhooks = WebhookService(database, bus, lambda: self._webhook_settings, clock)
        self.alerts = AlertService(
            database=database,
            ledger=ledger,
            bus=bus,
            live=self._live_with_webhooks,
            persons=self.persons,
            outbox=Outbox(database, sender, lambda: self._alert_settings, clock),
            sender=sender,
            settings=lambda: self._alert_settings,
            node=node,
            clock=clock,
        )

    async def load(self) -> None:
        """Take up what is stored."""
        await self._recorder.load()
        await self.webhooks.load()  # first: what the alerts find untold is for them, too
        await self.alerts.load()

    async def run(self) -> None:
        """Write down uptime, judge and tell; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.alerts.run())
            tasks.create_task(self.webhooks.run())
            while True:
                await asyncio.sleep(self._history_settings.tick_s)
                await self._tick()

    async def close(self) -> None:
        """Store the uptime up to now."""
        try:
            await self._recorder.tick()
        except sqlite3.Error as error:
            _log.error("uptime cannot be stored", error=str(error))

    async def apply_settings(self, settings: Settings) -> None:
        """New settings while everything runs; they count from the next decision on."""
        self._history_settings = settings.history
        self._alert_settings = settings.alerts
        self._webhook_settings = settings.webhooks

    def listen(self, sessions: SessionService) -> None:
        """What becomes of sessions is written down from now on."""
        sessions.on_remove(self.on_remove)
        sessions.on_change(self.on_change)

    async def on_change(self, view: SessionView) -> None:
        """Callback of the sessions' room: a session's state may have changed."""
        self._recorder.observe(view.id, view.state)

    async def on_remove(self, session: str, _purge: bool) -> None:
        """Callback of the sessions' room. The ledger keeps its rows: they are the fleet's history too."""
        await self._recorder.forget(session)
        await self.alerts.forget(session)

    async def page(self, query: Query, limit: int) -> HistoryPage:
        """Disconnections, newest first."""
        return await self._ledger.page(query, limit)

    async def export_csv(self, query: Query) -> AsyncIterator[bytes]:
        """All that match, newest first, as CSV (RFC 4180) with a header line, page by page."""
        columns = list(Disconnection.__struct_fields__)
        yield _csv_line(columns)
        while True:
            page = await self._ledger.page(query, PAGE_MAX)
            yield b"".join(_csv_line([_cell(getattr(item, column)) for column in columns]) for item in page.items)
            if page.next is None:
                return
            query = msgspec.structs.replace(query, before=page.next)

    async def stats(self, query: Query) -> HistoryStats:
        """Figures of the rows that match; `since` is 30 days ago unless it is given."""
        until = self._clock() if query.until is None else query.until
        since = until - 30 * DAY_S if query.since is None else query.since
        rows = await self._ledger.rows(msgspec.structs.replace(query, since=since, until=until))
        names = [name for name in self._recorder.sessions if query.session in (None, name)]
        return history_stats(
            rows,
            since,
            until,
            {name: self._recorder.share_of(name) for name in names},
            {name: self._recorder.online_s(name, since) for name in names},
        )

    def uptime(self, span: UptimeSpan, session: str | None, parts: int | None = None) -> list[UptimeStrip]:
        """Of one session or of all. Raises ProblemError 404 for a session, 400 for parts of unequal length."""
        if parts is not None and SHAPES[span].slots % parts:
            message = f"parts: {SHAPES[span].slots} slots cannot be {parts} parts of equal length."
            raise invalid("parts", message, "Use a divisor, for example 24.")
        names = self._recorder.sessions if session is None else [session]
        strips = [self._recorder.strip(name, span, parts) for name in names]
        if session is not None and strips == [None]:
            raise not_found("session", session, "List them: amda session list")
        return [strip for strip in strips if strip is not None]

    async def _live_with_webhooks(self) -> Live:
        return msgspec.structs.replace(await self._live(), webhooks=await self.webhooks.trouble())

    async def _tick(self) -> None:
        try:
            await self._recorder.tick()
            now = time.monotonic()
            if self._pruned_at is None or now - self._pruned_at >= _PRUNE_S:
                oldest = self._clock() - self._history_settings.keep_days * DAY_S
                await self._ledger.prune(oldest)
                await self.alerts.prune(oldest)
                self._pruned_at = now
        except sqlite3.Error as error:  # a full disk; what was counted is kept and stored next time
            _log.error("uptime cannot be stored", error=str(error))


def _csv_line(cells: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Empty for None; text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    if value is None:
        return ""
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in ("=", "+", "-", "@") else text
