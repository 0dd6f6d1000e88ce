"""The pairing service on a real Redis, with workers that do what the test says."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3

import pytest

from appliance.model import PairingState, PairMethod, SessionState
from appliance.pairing import redis_client
from appliance.pairing.attempt import Attempt
from appliance.pairing.record import PairingRecord
from appliance.problems import ProblemError
from appliance.protocol import LogIn, Paired, PairFailed, Signal, SignalKind
from tests.daemon_fakes import FakeWorker
from tests.integration.pairing.rig import CODE_LIFE_S, ONLINE, OTHER_PHONE, PAIRED, PHONE, Rig


async def test_linked_by_code_with_record_event_and_free_lock(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    rig.show(worker)
    shown = await rig.until(service, view.id, lambda found: found.code is not None)
    assert shown.code == "ABCD-EFGH"
    worker.report(PAIRED)
    worker.report(ONLINE)
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.LINKED, "promoted")
    row = await rig.database.fetch_one("SELECT * FROM pairings")
    assert row is not None
    assert (row["state"], row["phone"]) == ("linked", PHONE)
    assert "ABCD" not in repr(tuple(row))
    left = {key.removeprefix("amda:pairing:") for key in await rig.redis.client.keys("*")}
    assert left == {"fence", "seq", "shown", "limit:session:one", f"limit:phone:{PHONE}"}


async def test_asking_again_returns_the_same_code_and_starts_nothing(rig: Rig) -> None:
    service = await rig.service()
    first = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    rig.show(worker)
    await rig.until(service, first.id, lambda found: found.code is not None)
    again = await service.request("one", PairMethod.CODE, PHONE)
    assert (again.id, again.code) == (first.id, "ABCD-EFGH")
    assert rig.sessions.begun.empty()
    with pytest.raises(ProblemError, match="being linked already"):
        await service.request("one", PairMethod.CODE, OTHER_PHONE)


async def test_failure_discards_the_store_and_keeps_the_record(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    rig.show(worker)
    await rig.until(service, view.id, lambda found: found.code is not None)
    rig.clock.offset += CODE_LIFE_S
    worker.report(PairFailed(reason="timeout", shown=True))
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.EXPIRED, "discarded")
    assert ended.reason is not None
    assert "passkey" in ended.reason
    assert (await service.get(view.id)).reason == ended.reason


async def test_cancel_frees_everything(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    assert (await service.cancel(view.id)).state is PairingState.CANCELLED
    assert worker.outcome == "discarded"
    assert (await service.cancel(view.id)).state is PairingState.CANCELLED
    await service.request("one", PairMethod.CODE, PHONE)
    await rig.worker()


async def test_cancel_during_promotion_comes_too_late(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    worker.may_promote.clear()
    worker.report(PAIRED)
    worker.report(ONLINE)
    async with asyncio.timeout(5):
        await worker.promoting.wait()
    cancelling = asyncio.create_task(service.cancel(view.id))
    await asyncio.sleep(0)
    worker.may_promote.set()
    assert (await cancelling).state is PairingState.LINKED
    assert worker.outcome == "promoted"


async def test_linked_session_and_linked_number_are_refused(rig: Rig) -> None:
    service = await rig.service()
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
    service = await rig.service()
    view = await service.request("one", PairMethod.QR)
    worker = await rig.worker()
    worker.report(PAIRED)
    ended = await rig.ended(service, view.id)
    assert ended.state is PairingState.REFUSED
    assert worker.outcome == "discarded"


async def test_a_second_daemon_gets_the_first_ones_state_and_code_and_begins_nothing(rig: Rig) -> None:
    first, second = await rig.service("a"), await rig.service("b")
    await rig.shown(first)
    view = await second.request("one", PairMethod.CODE, PHONE)
    assert (view.state, view.code) == (PairingState.WAITING, "ABCD-EFGH")
    assert view.remaining_s == pytest.approx(CODE_LIFE_S, abs=5)
    assert rig.sessions.begun.empty()
    with pytest.raises(ProblemError, match=r"for session one: its code is on the screen, begun .* second"):
        await second.request("two", PairMethod.CODE, PHONE)
    with pytest.raises(ProblemError, match="being linked already, by code"):
        await second.request("one", PairMethod.CODE, OTHER_PHONE)


async def test_slots_bound_what_is_under_way_and_the_rest_has_a_position(rig: Rig) -> None:
    service = await rig.service(slots=1)
    first = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    second = await service.request("two", PairMethod.CODE, OTHER_PHONE)
    assert (second.state, second.position) == (PairingState.QUEUED, 1)
    assert rig.sessions.begun.empty()
    assert second.wait_s is not None
    assert second.wait_s > 0
    worker.report(PairFailed(reason="refused", code=400))
    await rig.ended(service, first.id)
    assert (await rig.worker()).session == "two"


async def test_an_end_that_cannot_be_recorded_does_not_hold_the_session(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await rig.service()
    worker = await rig.shown(service)
    refused = asyncio.Event()

    async def save(_record: PairingRecord, _attempt: Attempt) -> None:
        refused.set()
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(PairingRecord, "save", save)
        worker.report(PairFailed(reason="timeout", shown=True))
        async with asyncio.timeout(15):
            await refused.wait()
            while rig.sessions.held:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.01)
    async with asyncio.timeout(15):  # as long as the one before ends, the answer is that one
        while (await service.request("one", PairMethod.CODE, PHONE)).id == worker.attempt_id:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_two_at_a_time_log_in_for_the_first_time(rig: Rig) -> None:
    """Whatever becomes of those two, their turns go to the next."""
    service = await rig.service(heavy=2)
    workers = []
    for number, session in enumerate(("one", "two", "three", "four")):
        if session not in rig.sessions.views:
            await rig.sessions.create(session, session)
        phone = f"+22177123450{number}"
        workers.append(await rig.shown(service, session, phone))

    async def pair(number: int) -> None:
        workers[number].report(Paired(jid=f"22177123450{number}:3@s.whatsapp.net", lid=f"{number}:3@lid"))
        await rig.until(service, workers[number].attempt_id, lambda view: view.state is PairingState.CONFIRMING)

    def have_turn() -> list[str]:
        return [worker.session for worker in workers if LogIn() in worker.commands]

    async def turn_of(worker: FakeWorker) -> None:
        async with asyncio.timeout(5):
            while LogIn() not in worker.commands:  # noqa: ASYNC110 - a command to a worker sends no event
                await asyncio.sleep(0.01)

    for number in (0, 1):
        await pair(number)
        await turn_of(workers[number])
    await pair(2)
    assert have_turn() == ["one", "two"]
    workers[0].report(ONLINE)
    await turn_of(workers[2])
    await pair(3)
    assert have_turn() == ["one", "two", "three"]
    workers[1].report(Signal(kind=SignalKind.CONNECT_FAILURE, code=400))
    await turn_of(workers[3])
    assert (await rig.ended(service, workers[1].attempt_id)).state is PairingState.REFUSED


@pytest.mark.parametrize("hangs", ["fork", "worker", "phone"])
async def test_attempt_ends_within_its_limit_whatever_it_waits_for(rig: Rig, hangs: str) -> None:
    limit_s = 4.0
    service = await rig.service(job_limit_s=limit_s, slots=1)
    if hangs == "fork":
        rig.sessions.may_begin.clear()
    view = await service.request("one", PairMethod.CODE, PHONE)
    await rig.until(service, view.id, lambda found: found.started_at is not None)
    if hangs != "fork":
        worker = await rig.worker()
        if hangs == "worker":
            worker.may_answer.clear()
        else:
            rig.show(worker)
    ended = await rig.ended(service, view.id)
    assert ended.state is PairingState.EXPIRED
    assert ended.reason
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.ended_at - ended.started_at < limit_s
    assert rig.sessions.held == {}
    rig.sessions.may_begin.set()
    await rig.shown(service, "two", OTHER_PHONE)  # the slot is free


async def test_redis_away_is_said_and_nothing_is_begun(rig: Rig) -> None:
    service = await rig.service()
    await rig.server.stop()
    with pytest.raises(ProblemError, match="Pairing is not possible right now, because Redis is not running") as caught:
        await service.request("one", PairMethod.CODE, PHONE)
    assert caught.value.problem.status == 503
    assert caught.value.retry_after_s == 30
    assert rig.sessions.begun.empty()
    await rig.server.start()
    await service.request("one", PairMethod.CODE, PHONE)


async def test_redis_that_hangs_is_not_called_stopped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_client, "ANSWER_S", 1.0)
    service = await rig.service()
    assert rig.server.pid is not None
    os.kill(rig.server.pid, signal.SIGSTOP)
    with pytest.raises(ProblemError, match="right now, because Redis does not answer"):
        await service.request("one", PairMethod.CODE, PHONE)
    os.kill(rig.server.pid, signal.SIGCONT)
    assert (await service.request("one", PairMethod.CODE, PHONE)).state is not PairingState.FAILED


async def test_while_it_is_being_linked_the_session_says_so(rig: Rig) -> None:
    service = await rig.service(slots=1)
    await rig.shown(service)
    second = await service.request("two", PairMethod.CODE, OTHER_PHONE)
    await service.cancel(second.id)
    [first] = await service.recent("one")
    await service.cancel(first.id)
    told = dict.fromkeys(rig.sessions.linking)  # each step tells; what is shown changes with some of them
    told.pop(("one", SessionState.QUEUED), None)  # a free slot may take the first one before anybody looks
    assert list(told) == [
        ("one", SessionState.PAIRING),
        *(("two", SessionState.QUEUED), ("two", None), ("one", None)),
    ]


async def test_those_in_line_are_shown_so_by_the_next_daemon(rig: Rig) -> None:
    dead = await rig.service(slots=1)
    await rig.shown(dead)
    await dead.request("two", PairMethod.CODE, OTHER_PHONE)
    await rig.die(dead)
    rig.sessions.linking.clear()
    await rig.service(slots=1)
    assert ("two", SessionState.QUEUED) in rig.sessions.linking
    assert ("one", SessionState.PAIRING) not in rig.sessions.linking


async def test_attempt_that_cannot_prove_its_lock_stops_itself(rig: Rig) -> None:
    service = await rig.service(lock_s=0.3)
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    await rig.made[0][1].client.flushall()
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.FAILED, "discarded")
    assert ended.reason is not None
    assert "lock" in ended.reason


async def test_what_a_dead_daemon_left_is_told_and_unlocked(rig: Rig) -> None:
    dead = await rig.service()
    view = await dead.request("one", PairMethod.CODE, PHONE)
    await rig.worker()
    rig.sessions.held.clear()
    successor = await rig.service()
    await successor.load()
    found = await successor.get(view.id)
    assert found.state is PairingState.FAILED
    assert "restarted" in (found.reason or "")
    await successor.request("one", PairMethod.CODE, PHONE)


async def test_wrong_input_names_the_field(rig: Rig) -> None:
    service = await rig.service()
    for method, phone in ((PairMethod.CODE, None), (PairMethod.QR, PHONE), (PairMethod.CODE, "0771234512")):
        with pytest.raises(ProblemError) as caught:
            await service.request("one", method, phone)
        assert (caught.value.problem.status, caught.value.problem.field) == (400, "phone")
    with pytest.raises(ProblemError, match="no session nobody"):
        await service.request("nobody", PairMethod.QR)
