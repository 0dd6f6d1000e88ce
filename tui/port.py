"""What the interface needs of the API: the part of its client that screens use, so that a simulation can stand in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from appliance.model import Category, EventView, MediaView, PairingView, PairMethod, SessionView
from appliance.model_access import CallerView
from appliance.model_api import MediaPage, Removed, StatusView
from appliance.model_capture import CaptureChange, CaptureView
from appliance.model_doctor import DoctorReport
from appliance.model_history import (
    AlertRule,
    AlertView,
    HistoryPage,
    HistoryStats,
    LogEntry,
    LogLevel,
    LogSource,
    PersonRequest,
    PersonView,
    SilenceView,
    UptimeSpan,
    UptimeStrip,
)
from appliance.model_storage import Pixels, PruneReport, PruneRequest, Removal, StorageJob, StorageUsage
from appliance.model_system import SystemView


class Api(Protocol):
    """Every method raises `appliance.client.ClientError`; meanings are those of `ApplianceClient`."""

    async def caller(self) -> CallerView: ...

    async def status(self) -> StatusView: ...

    async def sessions(self) -> list[SessionView]: ...

    async def create_session(self, session: str, name: str = "") -> SessionView: ...

    async def start_session(self, session: str) -> SessionView: ...

    async def stop_session(self, session: str) -> SessionView: ...

    async def restart_session(self, session: str) -> SessionView: ...

    async def remove_session(self, session: str, *, purge: bool = False) -> Removed: ...

    async def pair(
        self, session: str, *, phone: str | None = None, relink: bool = False, method: PairMethod | None = None
    ) -> PairingView: ...

    async def pairings(self, session: str | None = None, limit: int = 50) -> list[PairingView]: ...

    async def cancel_pairing(self, pairing: str) -> PairingView: ...

    def events(
        self, *, after: int | None = None, session: str | None = None, kind: str | None = None
    ) -> AsyncIterator[EventView]: ...

    async def uptime(
        self, span: UptimeSpan = UptimeSpan.DAY, session: str | None = None, parts: int | None = None
    ) -> list[UptimeStrip]: ...

    async def history(
        self,
        *,
        session: str | None = None,
        reason: str | None = None,
        since: float | None = None,
        until: float | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> HistoryPage: ...

    async def history_stats(
        self, *, session: str | None = None, reason: str | None = None, since: float | None = None
    ) -> HistoryStats: ...

    async def alerts(self, ended_since: float | None = None) -> list[AlertView]: ...

    async def media(
        self,
        *,
        session: str | None = None,
        category: Category | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> MediaPage: ...

    async def storage(self) -> StorageUsage: ...

    async def prune(self, request: PruneRequest) -> PruneReport: ...

    async def begin_prune(self, request: PruneRequest) -> StorageJob: ...

    async def prune_job(self) -> StorageJob | None: ...

    async def stop_prune(self) -> StorageJob | None: ...

    async def removals(self, limit: int = 100) -> list[Removal]: ...

    async def acknowledge_alert(self, alert: str) -> AlertView: ...

    async def silences(self) -> list[SilenceView]: ...

    async def silence(
        self, duration_s: float, *, rule: AlertRule | None = None, session: str | None = None, comment: str = ""
    ) -> SilenceView: ...

    async def person(self, session: str) -> PersonView: ...

    async def set_person(self, session: str, request: PersonRequest) -> PersonView: ...

    async def remove_person(self, session: str) -> None: ...

    async def set_proxy(self, session: str, proxy: str | None) -> SessionView: ...

    async def capture(self, session: str) -> CaptureView: ...

    async def set_capture(self, session: str, change: CaptureChange) -> CaptureView: ...

    async def pin_media(self, media: str, *, pinned: bool = True) -> MediaView: ...

    async def media_pixels(self, media: str, width: int, height: int) -> Pixels: ...

    async def system(self) -> SystemView: ...

    async def doctor(self) -> DoctorReport: ...

    def logs(
        self,
        *,
        lines: int = 200,
        follow: bool = False,
        level: LogLevel = LogLevel.INFO,
        source: LogSource | None = None,
        session: str | None = None,
    ) -> AsyncIterator[LogEntry]: ...


class Door(Protocol):
    """Opens a way to the API; entering raises `ClientError` if there is none."""

    def __call__(self) -> AbstractAsyncContextManager[Api]: ...
