"""The daemon's API on a real socket, database and Redis; only the sessions are a fake."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import msgspec

from appliance.api.access import Access
from appliance.api.documentation import described_table
from appliance.api.events import EventsResource
from appliance.api.media import MediaResource
from appliance.api.pairings import PairingsResource
from appliance.api.server import ApiServer
from appliance.api.sessions import SessionsResource
from appliance.api.status import Health, StatusResource
from appliance.api.storage import StorageResource
from appliance.config import Limits, read_settings
from appliance.database import Database
from appliance.events import EventBus
from appliance.media.room import MediaRoom
from appliance.model import MediaKind
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.service import PairingService
from appliance.protocol import SpoolItem
from appliance.settings_watch import SettingsWatch
from tests.daemon_fakes import FakeSessions

DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


class ApiRig:
    def __init__(self, folder: Path, database: Database, bus: EventBus, redis: RedisClient, access: Access) -> None:
        environment = {"AMDA_PATHS_STATE_DIR": str(folder), "AMDA_LIMITS_SESSIONS": "3"}
        loaded = read_settings(None, environment)
        self.settings = loaded.settings
        watch = SettingsWatch(loaded, environment)
        self.bus = bus
        self.sessions = FakeSessions()
        self.media = MediaRoom(self.settings, self.settings.storage.kind, database, bus)
        self.index, self.intake = self.media.index, self.media.intake
        self.pairing = PairingService(self.sessions, PairingRecord(database), redis, bus, self.settings.pairing, "node")
        health = Health(
            *(
                lambda: self.sessions.fork_server_trouble,
                self.pairing,
                lambda: self.intake.state,
                folder,
                watch.trouble,
            ),
            lambda: 1 << 20,
        )
        self.access = access
        self.routes = described_table(
            SessionsResource(self.sessions, self.index, lambda: self.settings.limits.sessions),
            PairingsResource(self.pairing),
            MediaResource(self.index, self.media.vault, self.media.aside, lambda: self.intake.state),
            StorageResource(self.media),
            EventsResource(bus),
            StatusResource(
                settings=watch,
                node_id="node",
                started_at=time.time(),
                sessions=self.sessions,
                media=self.index,
                intake=lambda: self.intake.state,
                bus=bus,
                health=health,
            ),
            *access.resources(),
        )
        self.socket = folder / "run" / "api.sock"
        self.server = ApiServer(self.routes, self.socket, Limits(request_bytes=4096, request_s=30), access)

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
        await self.intake.drain(session)
