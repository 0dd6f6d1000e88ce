"""Pairing services on one real Redis and one real database, with workers that do what the test says."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

from appliance.config import Pairing
from appliance.database import Database
from appliance.events import EventBus
from appliance.model import PairingState, PairingView, PairMethod
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.service import PairingService
from appliance.protocol import Paired, PairShown, Signal, SignalKind
from appliance.redis_server import RedisServer
from tests.daemon_fakes import FakeSessions, FakeWorker

PHONE = "+221771234512"
OTHER_PHONE = "+221771234599"
PAIRED = Paired(jid="221771234512:3@s.whatsapp.net", lid="1:3@lid")
ONLINE = Signal(kind=SignalKind.CONNECTED)
CODE_LIFE_S = 160.0


class Clock:
    """The wall clock, which a test can turn."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


class Rig:
    """`service` makes as many daemons as a test wants."""

    def __init__(self, database: Database, bus: EventBus, server: RedisServer, url: str) -> None:
        self.database = database
        self.bus = bus
        self.server = server
        self.url = url
        self.sessions = FakeSessions()
        self.record = PairingRecord(database)
        self.clock = Clock()
        self.made: list[tuple[PairingService, RedisClient]] = []

    async def service(self, node: str = "node", **settings: float) -> PairingService:
        redis = RedisClient(self.url)
        chosen = Pairing(**{"slots": 4, "lock_s": 5.0, **settings})  # type: ignore[arg-type]
        service = PairingService(self.sessions, self.record, redis, self.bus, chosen, node, self.clock)
        self.made.append((service, redis))
        await service.load()
        return service

    @property
    def redis(self) -> RedisClient:
        return self.made[0][1]

    async def close(self) -> None:
        for service, redis in self.made:
            await service.close()
            await redis.close()

    async def die(self, service: PairingService) -> None:
        """The daemon is gone, and its workers with it; what it held stays as it was."""
        await service.close()
        self.sessions.held.clear()

    async def kill_redis(self) -> None:
        """As a power cut or the OOM killer would."""
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGKILL)
        await self.server.wait()

    async def worker(self) -> FakeWorker:
        """The next one that an attempt begins with."""
        async with asyncio.timeout(10):
            return await self.sessions.begun.get()

    async def until(
        self, service: PairingService, attempt_id: str, reached: Callable[[PairingView], bool]
    ) -> PairingView:
        async with asyncio.timeout(15):
            view = await service.get(attempt_id)
            while not reached(view):
                view = await service.wait(attempt_id, view.updated_at, 5)
            return view

    async def ended(self, service: PairingService, attempt_id: str) -> PairingView:
        return await self.until(service, attempt_id, lambda view: view.state.final)

    async def shown(self, service: PairingService, session: str = "one", phone: str = PHONE) -> FakeWorker:
        """Ask for a code and have it shown; its worker."""
        view = await service.request(session, PairMethod.CODE, phone)
        worker = await self.worker()
        self.show(worker)
        await self.until(service, view.id, lambda found: found.code is not None)
        return worker

    async def linked(self, service: PairingService, session: str = "one", phone: str = PHONE) -> PairingView:
        """A whole attempt."""
        view = await service.request(session, PairMethod.CODE, phone)
        worker = await self.worker()
        self.show(worker)
        self.link(worker)
        ended = await self.ended(service, view.id)
        assert ended.state is PairingState.LINKED
        return ended

    def show(self, worker: FakeWorker, code: str = "ABCD-EFGH") -> None:
        worker.report(PairShown(method=PairMethod.CODE, value=code, expires_at=self.clock() + CODE_LIFE_S))

    def link(self, worker: FakeWorker) -> None:
        worker.report(PAIRED)
        worker.report(ONLINE)
