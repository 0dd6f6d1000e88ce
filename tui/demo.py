"""`amda-tui --demo`: the same interface over a simulated fleet; nothing runs, nothing is contacted, nothing is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from appliance.model import Category, EventView, PairingView, PairMethod, SessionView
from appliance.model_access import CallerView, Door
from appliance.model_api import MediaPage, Removed, Scope, StatusView
from appliance.model_history import (
    AlertRule,
    AlertView,
    Disconnection,
    HistoryPage,
    HistoryStats,
    HourCount,
    ReasonCount,
    Recovery,
    SessionUptime,
    SilenceView,
    UptimeSpan,
    UptimeStrip,
)
from appliance.model_storage import PruneReport, PruneRequest, Removal, StorageJob, StorageUsage
from tui import demo_facts
from tui.demo_fleet import SLOTS, Fleet
from tui.demo_machine import MachineCalls, refused
from tui.demo_prune import DemoPrune

STEP_S: Final = 1.0
_KEPT: Final = 500
"""Events that can be caught up with."""
_SPAN_S: Final = {UptimeSpan.DAY: 86_400.0, UptimeSpan.MONTH: 30 * 86_400.0, UptimeSpan.YEAR: 365 * 86_400.0}


class DemoApi(MachineCalls):
    """The API over a fleet. Several interfaces may share one; time passes while somebody follows the events."""

    def __init__(self, fleet: Fleet, *, step_s: float = STEP_S) -> None:
        super().__init__(fleet, step_s)
        self._events: list[EventView] = []
        self._alerts = {alert.id: alert for alert in demo_facts.alarming(fleet)}
        self._silences: list[SilenceView] = []
        self._prune = DemoPrune(fleet)
        self.scope = Scope.ADMIN
        """What whoever looks may do."""
        self._at = time.monotonic()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self) -> Self:
        """It is its own door."""
        return self

    async def caller(self) -> CallerView:
        return CallerView(who="user:demo", door=Door.UNIX, scope=self.scope, session=None)

    async def status(self) -> StatusView:
        return self.fleet.status()

    async def sessions(self) -> list[SessionView]:
        return [member.view for member in self.fleet.members.values()]

    async def create_session(self, session: str, name: str = "") -> SessionView:
        if session in self.fleet.members:
            raise refused(f"There is a session {session} already.", 409)
        await self.tell(self.fleet.create(session, name))
        return self.fleet.members[session].view

    async def start_session(self, session: str) -> SessionView:
        self._known(session)
        await self.tell(self.fleet.start(session))
        return self.fleet.members[session].view

    async def stop_session(self, session: str) -> SessionView:
        self._known(session)
        await self.tell(self.fleet.stop(session))
        return self.fleet.members[session].view

    async def restart_session(self, session: str) -> SessionView:
        return await self.start_session(session)

    async def remove_session(self, session: str, *, purge: bool = False) -> Removed:
        self._known(session)
        await self.tell(self.fleet.remove(session))
        return Removed(session=session, purged=purge, note=None)

    async def pair(
        self, session: str, *, phone: str | None = None, relink: bool = False, method: PairMethod | None = None
    ) -> PairingView:
        self._known(session)
        if phone is not None and sum(map(str.isdigit, phone)) < 8:
            raise refused("phone: that is not a number with its country code.", 400)
        chosen = method or (PairMethod.QR if phone is None else PairMethod.CODE)
        view, happened = self.fleet.pair(session, phone, chosen)
        await self.tell(happened)
        return view

    async def pairings(self, session: str | None = None, limit: int = 50) -> list[PairingView]:
        views = [attempt.view for attempt in self.fleet.attempts.values()]
        views.sort(key=lambda view: -view.created_at)
        return [view for view in views if session in (None, view.session)][:limit]

    async def cancel_pairing(self, pairing: str) -> PairingView:
        _view, happened = self.fleet.cancel(pairing)
        await self.tell(happened)
        return self.fleet.attempts[pairing].view

    async def events(
        self, *, after: int | None = None, session: str | None = None, kind: str | None = None
    ) -> AsyncIterator[EventView]:
        seen = self.fleet.seq if after is None else after
        while True:
            for event in [event for event in self._events if event.seq > seen]:
                seen = event.seq
                if session in (None, event.session) and event.type.startswith(kind or ""):
                    yield event
            await asyncio.sleep(self._step_s)
            await self.pass_time()

    async def uptime(
        self, span: UptimeSpan = UptimeSpan.DAY, session: str | None = None, parts: int | None = None
    ) -> list[UptimeStrip]:
        names = list(self.fleet.members) if session is None else [session]
        return [self._strip(name, span, parts or SLOTS) for name in names]

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
        rows = [row for row in self._rows(session, reason, since) if before is None or row.id < before]
        rows = [row for row in rows if until is None or row.at < until][::-1]
        return HistoryPage(items=rows[:limit], next=rows[limit - 1].id if len(rows) > limit else None)

    async def history_stats(
        self, *, session: str | None = None, reason: str | None = None, since: float | None = None
    ) -> HistoryStats:
        start = self.fleet.now - 7 * 86_400 if since is None else since
        rows = self._rows(session, reason, start)
        return HistoryStats(
            since=start,
            until=self.fleet.now,
            total=len(rows),
            asked=0,
            by_reason=_by_reason(rows),
            by_hour=_by_hour(rows, start, self.fleet.now),
            sessions=self._reliability(rows, session),
            recovery=_recovery(rows),
            mean_between_s=None,
        )

    async def alerts(self, ended_since: float | None = None) -> list[AlertView]:
        return list(self._alerts.values())

    async def acknowledge_alert(self, alert: str) -> AlertView:
        found = msgspec.structs.replace(self._alerts[alert], acknowledged_by="demo")
        self._alerts[alert] = found
        return found

    async def silences(self) -> list[SilenceView]:
        return self._silences

    async def silence(
        self, duration_s: float, *, rule: AlertRule | None = None, session: str | None = None, comment: str = ""
    ) -> SilenceView:
        now = self.fleet.now
        number = str(len(self._silences) + 1)
        until = now + duration_s
        made = SilenceView(id=number, rule=rule, session=session, until=until, created_at=now, comment=comment)
        self._silences.append(made)
        return made

    async def storage(self) -> StorageUsage:
        return demo_facts.usage(self.fleet)

    async def prune(self, request: PruneRequest) -> PruneReport:
        return demo_facts.prune(self.fleet)

    async def begin_prune(self, request: PruneRequest) -> StorageJob:
        return self._prune.begin(request)

    async def prune_job(self) -> StorageJob | None:
        return self._prune.job()

    async def stop_prune(self) -> StorageJob | None:
        return self._prune.stop()

    async def removals(self, limit: int = 100) -> list[Removal]:
        return []

    async def media(
        self,
        *,
        session: str | None = None,
        category: Category | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> MediaPage:
        found = [item for item in self.fleet.media if session in (None, item.session)]
        return MediaPage(items=[item for item in found if category in (None, item.category)][:limit], next=None)

    # ---- how

    async def pass_time(self) -> None:
        """However many follow, a second passes once a second."""
        passed = time.monotonic() - self._at
        if passed >= self._step_s / 2:
            self._at = time.monotonic()
            await self.tell(self.fleet.step(passed * STEP_S / self._step_s))

    async def tell(self, happened: Sequence[EventView]) -> None:
        """These have happened: whoever follows the events gets them."""
        self._events = [*self._events, *happened][-_KEPT:]

    def _rows(self, session: str | None, reason: str | None, since: float | None) -> list[Disconnection]:
        return [
            row
            for row in self.fleet.ledger
            if session in (None, row.session) and reason in (None, row.reason) and (since is None or row.at >= since)
        ]

    def _strip(self, session: str, span: UptimeSpan, parts: int) -> UptimeStrip:
        whole = _SPAN_S[span]
        start, slot = self.fleet.now - whole, whole / parts
        shares = [
            self.fleet.online_share(session, start + index * slot, start + (index + 1) * slot) for index in range(parts)
        ]
        known = [share for share in shares if share is not None]
        mean = sum(known) / len(known) if known else None
        return UptimeStrip(session=session, span=span, start=start, slot_s=slot, values=shares, share=mean)

    def _reliability(self, rows: Sequence[Disconnection], only: str | None) -> list[SessionUptime]:
        now = self.fleet.now
        return [
            SessionUptime(
                session=name,
                day=self.fleet.online_share(name, now - 86_400, now),
                week=self.fleet.online_share(name, now - 7 * 86_400, now),
                month=None,
                disconnections=sum(row.session == name for row in rows),
                mean_between_s=None,
            )
            for name in self.fleet.members
            if only in (None, name)
        ]


def _by_reason(rows: Sequence[Disconnection]) -> list[ReasonCount]:
    texts = {row.reason: row.text for row in rows}
    counts = {reason: sum(row.reason == reason for row in rows) for reason in texts}
    order = sorted(counts, key=lambda reason: -counts[reason])
    return [ReasonCount(reason=reason, text=texts[reason], count=counts[reason]) for reason in order]


def _by_hour(rows: Sequence[Disconnection], since: float, until: float) -> list[HourCount]:
    first, last = int(since // 3600), int(until // 3600)
    counts = dict.fromkeys(range(first, last + 1), 0)
    for row in rows:
        counts[int(row.at // 3600)] += 1
    return [HourCount(start=hour * 3600.0, count=count) for hour, count in counts.items()]


def _recovery(rows: Sequence[Disconnection]) -> Recovery:
    times = sorted(row.recovery_s for row in rows if row.recovery_s is not None)

    def at(share: float) -> float | None:
        return times[min(len(times) - 1, int(share * len(times)))] if times else None

    return Recovery(count=len(times), p50_s=at(0.5), p95_s=at(0.95), p99_s=at(0.99), open=len(rows) - len(times))
