"""The daemon's API on a real socket, database and Redis; only the sessions are a fake."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

import msgspec
import pytest

from appliance.api.access import Access
from appliance.api.documentation import described_table
from appliance.api.resources import all_resources
from appliance.api.server import ApiServer
from appliance.api.status import Health
from appliance.backup.lease_keeper import LeaseKeeper
from appliance.config import CONFIG_VARIABLE, LoadedSettings, read_settings
from appliance.database import Database
from appliance.events import EventBus
from appliance.history.facts import live_source
from appliance.history.ledger import Ledger
from appliance.history.service import HistoryService
from appliance.media import vault
from appliance.media.room import MediaRoom
from appliance.metrics.service import MetricsService
from appliance.metrics.snapshot import Sources
from appliance.model import MediaKind
from appliance.model_api import Readiness
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.service import PairingService
from appliance.protocol import SpoolItem, WorkerProcess
from appliance.settings_watch import SettingsWatch
from tests.daemon_fakes import FakeSessions

DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


class NoForkServer:
    """Away, and without workers."""

    hello = None

    async def list(self) -> list[WorkerProcess]:
        return []


class HeldUp:
    """The store's deletion, a batch for each object. `begun`: a batch is on its way; `go_on`: to be set by the test."""

    def __init__(self, media: MediaRoom, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self._delete = media.vault.store.delete
        monkeypatch.setattr(vault, "_BATCH", 1)
        monkeypatch.setattr(media.vault.store, "delete", self._slowly)

    async def _slowly(self, keys: Sequence[str]) -> None:
        self.begun.set()
        await self.go_on.wait()
        await self._delete(keys)


class ApiRig:
    """Made by `open`; every resource that the daemon has. `server` is to be started."""

    def __init__(
        self,
        loaded: LoadedSettings,
        environment: dict[str, str],
        database: Database,
        bus: EventBus,
        redis: RedisClient,
        access: Access,
        media: MediaRoom,
        history: HistoryService,
        lease: LeaseKeeper,
        sessions: FakeSessions,
    ) -> None:
        self.settings = loaded.settings
        self.bus = bus
        self.access = access
        self.sessions = sessions
        self.media = media
        self.history = history
        self.pairing = PairingService(sessions, PairingRecord(database), redis, bus, self.settings.pairing, "node")
        watch = SettingsWatch(loaded, environment)
        health = Health(
            lambda: self.sessions.fork_server_trouble,
            self.pairing,
            lambda: media.state,
            self.settings.paths.state_dir,
            watch.trouble,
            lambda: 1 << 20,
        )
        paths = self.settings.paths
        self.metrics = MetricsService(
            Sources(database, bus, redis, sessions, self.pairing, media, history, health, paths)
        )
        self.routes = described_table(
            *all_resources(
                node_id="node",
                started_at=time.time(),
                database=database,
                bus=bus,
                watch=watch,
                health=health,
                sessions=sessions,
                pairing=self.pairing,
                media=media,
                history=history,
                lease=lease,
                fork=NoForkServer(),
                metrics=self.metrics,
            ),
            *access.resources(),
        )
        self.socket = self.settings.paths.api_socket
        self.server = ApiServer(self.routes, self.socket, self.settings.limits, access)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path, database: Database, bus: EventBus, **variables: str) -> AsyncIterator[Self]:
        """Served until the block ends. `variables`: settings, as `api_listen`."""
        given = {"paths_state_dir": str(folder), "limits_sessions": "3", "limits_request_bytes": "4096", **variables}
        environment = {f"AMDA_{name.upper()}": value for name, value in given.items()}
        environment[CONFIG_VARIABLE] = str(folder / "rig.toml")
        (folder / "rig.toml").touch()
        loaded = read_settings(None, environment)
        settings, sessions = loaded.settings, FakeSessions()

        async def readiness() -> Readiness:
            return Readiness(ready=True, degraded=[])

        async with contextlib.AsyncExitStack() as stack:
            media = await stack.enter_async_context(MediaRoom.open(settings, database, bus))
            history = HistoryService(
                database=database,
                ledger=Ledger(database, time.time, whatsapp="2.3000.7"),
                bus=bus,
                live=live_source(sessions, readiness, media.keeper.quota_use),
                settings=settings,
                node="box",
                clock=time.time,
            )
            await history.load()
            stack.push_async_callback(history.close)
            redis = RedisClient(f"unix://{settings.paths.redis_socket}")
            stack.push_async_callback(redis.close)
            access = await Access.open(database, settings.api)
            lease = await stack.enter_async_context(LeaseKeeper.open(settings, database, "node"))
            made = cls(loaded, environment, database, bus, redis, access, media, history, lease, sessions)
            await made.pairing.load()
            stack.push_async_callback(made.pairing.close)
            await stack.enter_async_context(made.server)
            stack.push_async_callback(bus.close)
            yield made

    async def capture(self, session: str, message_id: str, data: bytes = DATA, sha256: str = "") -> None:
        folder = self.settings.paths.sessions / session / "store" / "spool"
        folder.mkdir(parents=True, exist_ok=True)
        item = SpoolItem(
            item=message_id,
            session=session,
            category="view-once",
            kind=MediaKind.IMAGE,
            mimetype="image/png",
            sha256=sha256 or hashlib.sha256(data).hexdigest(),
            size=len(data),
            message_id=message_id,
            chat="221771234512@s.whatsapp.net",
            sender="221771234512@s.whatsapp.net",
            sent_at=1_790_000_000.0,
            captured_at=1_790_000_000.0,
        )
        (folder / f"{message_id}.data").write_bytes(data)
        (folder / f"{message_id}.json").write_bytes(msgspec.json.encode(item))
        await self.media.intake.drain(session)
