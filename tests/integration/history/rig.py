"""The history room with a real database, API and client; sessions are a fake, and the clock is the test's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from appliance.api.access import Access
from appliance.api.alerts import AlertsResource
from appliance.api.history import HistoryResource
from appliance.api.routes import table
from appliance.api.server import ApiServer
from appliance.api.settings import ApiSettings
from appliance.config import Limits, Settings, load_settings
from appliance.database import Database
from appliance.events import EventBus
from appliance.history.facts import QuotaUse, live_source
from appliance.history.ledger import Ledger
from appliance.history.logs import store_finder
from appliance.history.service import HistoryService
from appliance.history.settings import AlertSettings
from appliance.model import SessionState
from appliance.model_api import DegradedPart, Readiness
from tests.daemon_fakes import FakeSessions

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0


class Rig:
    def __init__(self, folder: Path, database: Database, bus: EventBus, **alerts: Any) -> None:
        self.now = NOW
        self.database = database
        self.bus = bus
        self.sessions = FakeSessions()
        self.trouble: dict[str, str] = {}
        self.used = QuotaUse()
        values: dict[str, Any] = {"webhook_secret": SECRET, "private_contacts": True, "group_s": 0, "clear_s": 0}
        self.settings = msgspec.convert({**values, **alerts}, AlertSettings)
        self.ledger = Ledger(database, lambda: self.now, whatsapp="2.3000.7")
        self.socket = folder / "run" / "api.sock"
        self.history = self.make()
        self._server: ApiServer | None = None

    def all_settings(self, alerts: AlertSettings) -> Settings:
        """The rest as shipped."""
        return msgspec.structs.replace(load_settings(None, {"AMDA_PATHS_STATE_DIR": "/nowhere"}), alerts=alerts)

    def make(self) -> HistoryService:
        """Another daemon on the same database."""
        return HistoryService(
            database=self.database,
            ledger=self.ledger,
            bus=self.bus,
            live=live_source(self.sessions, self.readiness, self.quota),
            settings=self.all_settings(self.settings),
            node="box",
            clock=lambda: self.now,
        )

    async def readiness(self) -> Readiness:
        parts = [DegradedPart(part=part, reason=reason, remedy="") for part, reason in self.trouble.items()]
        return Readiness(ready=True, degraded=parts)

    async def quota(self) -> QuotaUse:
        return self.used

    async def add(self, session: str, state: SessionState, store: Path | None = None) -> None:
        await self.sessions.create(session, session)
        await self.database.execute(
            "INSERT INTO sessions (id, name, node_id, state, since, created_at, store_url) "
            "VALUES (?, ?, 'n', ?, 0, 0, ?)",
            (session, session, state, None if store is None else store.as_uri()),
        )
        await self.change(session, state)

    async def change(self, session: str, state: SessionState) -> None:
        self.sessions.change(session, state=state)
        await self.history.on_change(await self.sessions.get(session))

    async def judge(self, wait: float = 0.0) -> None:
        self.now += wait
        await self.history.alerts.judge()

    async def serve(self) -> None:
        resources = (
            HistoryResource(self.history, store_finder(self.database)),
            AlertsResource(self.history.alerts, self.history.persons),
        )
        self.socket.parent.mkdir()
        self._server = ApiServer(
            table(resources), self.socket, Limits(), await Access.open(self.database, ApiSettings())
        )
        await self._server.start()

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop()
