"""The pairing service on a real Redis, with workers that do what the test says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.config import Pairing
from appliance.database import Database
from appliance.events import EventBus
from appliance.model import PairingState, PairingView, PairMethod, SessionState
from appliance.pairing.lock import PairingLock
from appliance.pairing.record import PairingRecord
from appliance.pairing.redis_client import RedisClient
from appliance.pairing.service import PairingService
from appliance.problems import ProblemError
from appliance.protocol import Paired, PairFailed, PairShown, Signal, SignalKind
from appliance.redis_server import RedisServer
from tests.daemon_fakes import FakeSessions, FakeWorker

PHONE = "+221771234512"
OTHER_PHONE = "+221771234599"
PAIRED = Paired(jid="221771234512:3@s.whatsapp.net", lid="1:3@lid")


class Rig:
    def __init__(self, database: Database, bus: EventBus, url: str) -> None:
        self.database = database
        self.bus = bus
        self.url = url
        self.sessions = FakeSessions()
        self.record = PairingRecord(database)
        self.made: list[tuple[PairingService, RedisClient]] = []

    def service(self, **settings: float) -> PairingService:
        redis = RedisClient(self.url)
        chosen = Pairing(**{"slots": 4, "lock_s": 5.0, **settings})  # type: ignore[arg-type]
        service = PairingService(self.sessions, self.record, redis, self.bus, chosen, "node")
        self.made.append((service, redis))
        return service

    async def worker(self) -> FakeWorker:
        async with asyncio.timeout(5):
            return await self.sessions.begun.get()

    async def until(
        self, service: PairingService, attempt_id: str, reached: Callable[[PairingView], bool]
    ) -> PairingView:
        async with asyncio.timeout(10):
            view = await service.get(attempt_id)
            while not reached(view):
                view = await service.wait(attempt_id, view.updated_at, 5)
            return view

    async def ended(self, service: PairingService, attempt_id: str) -> PairingView:
        return await self.until(service, attempt_id, lambda view: view.state.final)


@pytest.fixture
async def rig(database: Database, bus: EventBus, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(database, bus, f"unix://{tmp_path}/run/redis.sock")
    for session in ("one", "two"):
        await made.sessions.create(session, session)
    yield made
    for service, redis in made.made:
        await service.close()
        await redis.close()


def show(worker: FakeWorker, code: str = "ABCD-EFGH") -> None:
    worker.report(PairShown(method=PairMethod.CODE, value=code, expires_at=time.time() + 160))


async def test_linked_by_code_with_record_event_and_free_lock(rig: Rig) -> None:
    service = rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    show(worker)
    shown = await rig.until(service, view.id, lambda found: found.code is not None)
    assert shown.code == "ABCD-EFGH"
    worker.report(PAIRED)
    worker.report(Signal(kind=SignalKind.CONNECTED))
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.LINKED, "promoted")
    row = await rig.database.fetch_one("SELECT * FROM pairings")
    assert row is not None
    assert (row["state"], row["phone"]) == ("linked", PHONE)
    assert "ABCD" not in repr(tuple(row))
    [keys] = [await rig.made[0][1].client.keys("*")]
    assert keys == []


async def test_asking_again_returns_the_same_code_and_starts_nothing(rig: Rig) -> None:
    service = rig.service()
    first = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    show(worker)
    await rig.until(service, first.id, lambda found: found.code is not None)
    again = await service.request("one", PairMethod.CODE, PHONE)
    assert (again.id, again.code) == (first.id, "ABCD-EFGH")
    assert rig.sessions.begun.empty()
    with pytest.raises(ProblemError, match="being linked already"):
        await service.request("one", PairMethod.CODE, OTHER_PHONE)


async def test_failure_discards_the_store_and_keeps_the_record(rig: Rig) -> None:
    service = rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    show(worker)
    worker.report(PairFailed(reason="timeout", shown=True))
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.EXPIRED, "discarded")
    assert ended.reason is not None
    assert "passkey" in ended.reason
    assert (await service.get(view.id)).reason == ended.reason
    second = await service.request("one", PairMethod.CODE, PHONE)
    assert second.id != view.id


async def test_cancel_frees_everything(rig: Rig) -> None:
    service = rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    assert (await service.cancel(view.id)).state is PairingState.CANCELLED
    assert worker.outcome == "discarded"
    assert (await service.cancel(view.id)).state is PairingState.CANCELLED
    await service.request("one", PairMethod.CODE, PHONE)
    await rig.worker()


async def test_cancel_during_promotion_comes_too_late(rig: Rig) -> None:
    service = rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    worker.may_promote.clear()
    worker.report(PAIRED)
    worker.report(Signal(kind=SignalKind.CONNECTED))
    async with asyncio.timeout(5):
        await worker.promoting.wait()
    cancelling = asyncio.create_task(service.cancel(view.id))
    await asyncio.sleep(0)
    worker.may_promote.set()
    assert (await cancelling).state is PairingState.LINKED
    assert worker.outcome == "promoted"


async def test_linked_session_and_linked_number_are_refused(rig: Rig) -> None:
    service = rig.service()
    rig.sessions.change("one", state=SessionState.ONLINE, generation=1)
    with pytest.raises(ProblemError, match="linked already") as caught:
        await service.request("one", PairMethod.CODE, PHONE)
    assert caught.value.problem.status == 409
    await service.request("one", PairMethod.CODE, OTHER_PHONE, relink=True)
    await rig.worker()
    await rig.database.execute(
        "INSERT INTO sessions (id, name, node_id, generation, state, since, phone, created_at)"
        " VALUES ('three', 'three', 'node', 1, 'online', 0, ?, 0)",
        (PHONE,),
    )
    with pytest.raises(ProblemError, match="session three"):
        await service.request("two", PairMethod.CODE, PHONE)


async def test_qr_of_a_number_that_is_linked_elsewhere_is_undone(rig: Rig) -> None:
    await rig.database.execute(
        "INSERT INTO sessions (id, name, node_id, generation, state, since, phone, created_at)"
        " VALUES ('three', 'three', 'node', 1, 'online', 0, ?, 0)",
        (PHONE,),
    )
    service = rig.service()
    view = await service.request("one", PairMethod.QR)
    worker = await rig.worker()
    worker.report(PAIRED)
    ended = await rig.ended(service, view.id)
    assert ended.state is PairingState.REFUSED
    assert worker.outcome == "discarded"


async def test_one_number_is_linked_by_one_attempt_at_a_time_even_by_two_daemons(rig: Rig) -> None:
    first, second = rig.service(), rig.service()
    await first.request("one", PairMethod.CODE, PHONE)
    for session in ("one", "two"):
        with pytest.raises(ProblemError, match="being linked already"):
            await second.request(session, PairMethod.CODE, PHONE)


async def test_slots_bound_what_is_under_way_and_the_rest_has_a_position(rig: Rig) -> None:
    service = rig.service(slots=1)
    first = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    second = await service.request("two", PairMethod.CODE, OTHER_PHONE)
    assert (second.state, second.position) == (PairingState.QUEUED, 1)
    assert rig.sessions.begun.empty()
    worker.report(PairFailed(reason="error"))
    await rig.ended(service, first.id)
    assert (await rig.worker()).session == "two"


async def test_redis_away_is_said_and_nothing_is_begun(rig: Rig, redis_server: RedisServer) -> None:
    service = rig.service()
    await redis_server.stop()
    with pytest.raises(ProblemError, match="Pairing is not possible right now, because Redis is not running") as caught:
        await service.request("one", PairMethod.CODE, PHONE)
    assert caught.value.problem.status == 503
    assert caught.value.retry_after_s == 30
    assert rig.sessions.begun.empty()
    await redis_server.start()
    await service.request("one", PairMethod.CODE, PHONE)


async def test_attempt_that_cannot_prove_its_lock_stops_itself(rig: Rig) -> None:
    service = rig.service(lock_s=0.3)
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    await rig.made[0][1].client.flushall()
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.FAILED, "discarded")
    assert ended.reason is not None
    assert "lock" in ended.reason


async def test_what_a_dead_daemon_left_is_told_and_unlocked(rig: Rig) -> None:
    dead = rig.service()
    view = await dead.request("one", PairMethod.CODE, PHONE)
    await rig.worker()
    rig.sessions.held.clear()
    successor = rig.service()
    await successor.load()
    found = await successor.get(view.id)
    assert found.state is PairingState.FAILED
    assert "restarted" in (found.reason or "")
    await successor.request("one", PairMethod.CODE, PHONE)


async def test_lock_is_released_and_extended_by_its_owner_only(rig: Rig, tmp_path: Path) -> None:
    redis = RedisClient(rig.url)
    mine, other = (
        PairingLock(redis.client, owner=owner, session="x", phone=PHONE, expiry_s=5) for owner in ("me", "other")
    )
    assert await mine.acquire() is None
    assert await other.acquire() == "me"
    await other.release()
    assert await other.acquire() == "me"
    await mine.release()
    assert await other.acquire() is None
    await redis.close()


async def test_wrong_input_names_the_field(rig: Rig) -> None:
    service = rig.service()
    for method, phone in ((PairMethod.CODE, None), (PairMethod.QR, PHONE), (PairMethod.CODE, "0771234512")):
        with pytest.raises(ProblemError) as caught:
            await service.request("one", method, phone)
        assert (caught.value.problem.status, caught.value.problem.field) == (400, "phone")
    with pytest.raises(ProblemError, match="no session nobody"):
        await service.request("nobody", PairMethod.QR)
