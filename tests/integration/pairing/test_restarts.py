"""Daemons and Redis that end at any moment: what waits goes on waiting, what was under way is told, nothing sticks."""

from __future__ import annotations

import asyncio

import pytest

from appliance.model import PairingState, PairMethod
from appliance.pairing.fences import Fences, OvertakenError
from appliance.problems import ProblemError
from appliance.protocol import PairFailed
from tests.integration.pairing.rig import OTHER_PHONE, PHONE, Rig

THIRD_PHONE = "+221771234577"


async def _in_line(rig: Rig, service: object, sessions: dict[str, str]) -> dict[str, str]:
    """Ask for each session; the ids of the attempts."""
    ids = {}
    for session, phone in sessions.items():
        if session not in rig.sessions.views:
            await rig.sessions.create(session, session)
        ids[session] = (await service.request(session, PairMethod.CODE, phone)).id  # type: ignore[attr-defined]
    return ids


async def test_line_survives_the_daemon_and_who_was_under_way_is_told(rig: Rig) -> None:
    dead = await rig.service(slots=1)
    ids = await _in_line(rig, dead, {"one": PHONE, "two": OTHER_PHONE, "three": THIRD_PHONE})
    await rig.worker()
    await rig.die(dead)
    successor = await rig.service(slots=1)
    told = await successor.get(ids["one"])
    assert told.state is PairingState.FAILED
    assert "restarted" in (told.reason or "")
    second = await rig.worker()
    assert (second.session, second.attempt_id) == ("two", ids["two"])
    third = await successor.get(ids["three"])
    assert (third.state, third.position) == (PairingState.QUEUED, 1)
    rig.show(second)
    rig.link(second)
    await rig.ended(successor, ids["two"])
    assert (await rig.worker()).session == "three"
    again = await successor.request("one", PairMethod.CODE, PHONE)  # its code was never shown: free
    assert again.id != ids["one"]


async def test_interrupted_after_its_code_was_shown_the_next_one_is_free(rig: Rig) -> None:
    dead = await rig.service()
    await rig.shown(dead)
    await rig.die(dead)
    successor = await rig.service()
    await rig.shown(successor)


async def test_killed_between_the_promotion_and_the_record_it_is_called_linked(rig: Rig) -> None:
    dead = await rig.service()
    view = await rig.linked(dead)
    await rig.die(dead)
    await rig.database.execute(
        "INSERT INTO sessions (id, name, node_id, generation, store_url, created_at, state, since)"
        " VALUES ('one', 'one', 'node', 1, ?, 0, 'online', 0)",
        (f"file:///sessions/one/{view.id}",),
    )
    await rig.database.execute("UPDATE pairings SET state = 'confirming', ended_at = NULL")  # it did not get so far
    successor = await rig.service()
    told = await successor.get(view.id)
    assert (told.state, told.reason, told.remedy) == (PairingState.LINKED, None, None)
    assert told.ended_at is not None


async def test_line_survives_redis_killed_in_the_middle_even_if_it_forgot_the_last_second(rig: Rig) -> None:
    service = await rig.service(slots=1)
    ids = await _in_line(rig, service, {"one": PHONE, "two": OTHER_PHONE, "three": THIRD_PHONE})
    first = await rig.worker()
    rig.show(first)
    await rig.until(service, ids["one"], lambda view: view.code is not None)
    await rig.kill_redis()
    assert (await service.get(ids["two"])).position == 1  # as this daemon remembers it
    assert (await service.request("one", PairMethod.CODE, PHONE)).code == "ABCD-EFGH"
    await rig.server.start()
    rig.link(first)
    assert (await rig.ended(service, ids["one"])).state.final
    for session in ("two", "three"):
        worker = await rig.worker()
        assert worker.session == session
        rig.show(worker)
        worker.report(PairFailed(reason="refused", code=400))
        await rig.ended(service, ids[session])


async def test_redis_that_lost_everything_gives_the_waiting_their_places_back(rig: Rig) -> None:
    service = await rig.service(slots=1)
    ids = await _in_line(rig, service, {"one": PHONE, "two": OTHER_PHONE, "three": THIRD_PHONE})
    first = await rig.worker()
    await rig.redis.client.flushall()
    first.report(PairFailed(reason="refused", code=400))
    for session in ("two", "three"):
        worker = await rig.worker()
        assert (worker.session, worker.attempt_id) == (session, ids[session])
        worker.report(PairFailed(reason="refused", code=400))
        await rig.ended(service, ids[session])


async def test_running_attempt_stops_itself_when_redis_stays_away(rig: Rig) -> None:
    service = await rig.service(lock_s=2.0)
    worker = await rig.shown(service)
    [view] = await service.recent()
    await rig.kill_redis()
    ended = await rig.ended(service, view.id)
    assert (ended.state, worker.outcome) == (PairingState.FAILED, "discarded")
    assert "Redis" in (ended.reason or "")
    await rig.server.start()
    await rig.sessions.create("three", "three")
    await rig.shown(service, "three", OTHER_PHONE)  # the dispatcher tells Redis of ends before it takes anything
    await rig.shown(service)


async def test_job_of_a_daemon_that_vanished_is_ended_and_its_slot_freed_by_another(rig: Rig) -> None:
    vanished = await rig.service("a")
    await rig.shown(vanished)
    [view] = await vanished.recent()
    await rig.die(vanished)
    rig.clock.offset += 10
    other = await rig.service("b")
    with pytest.raises(ProblemError) as caught:  # its code may be alive on a screen for another 150 s
        await _eventually_free(other)
    assert caught.value.problem.status == 429
    assert caught.value.retry_after_s == pytest.approx(150, abs=9)
    assert (await rig.ended(other, view.id)).state is PairingState.FAILED
    rig.clock.offset += 160
    await rig.shown(other)


async def _eventually_free(service: object) -> None:
    """Ask until the former attempt is swept."""
    async with asyncio.timeout(15):
        while True:
            view = await service.request("one", PairMethod.CODE, PHONE)  # type: ignore[attr-defined]
            await service.wait(view.id, view.updated_at, 1)  # type: ignore[attr-defined]


async def test_cancelled_by_another_daemon_than_the_one_that_leads(rig: Rig) -> None:
    first, second = await rig.service("a", lock_s=1.0), await rig.service("b", lock_s=1.0)
    worker = await rig.shown(first)
    [view] = await second.recent()
    assert (await second.cancel(view.id)).state is PairingState.CANCELLED
    assert worker.outcome == "discarded"


async def test_overtaken_attempt_cannot_promote(rig: Rig) -> None:
    """The holder's lock looks fine to itself; a newer attempt has begun all the same."""
    service = await rig.service(lock_s=60)
    view = await service.request("one", PairMethod.CODE, PHONE)
    worker = await rig.worker()
    rig.show(worker)
    await rig.until(service, view.id, lambda found: found.code is not None)
    await Fences(rig.database).enter("one", [PHONE], 1_000_000)
    worker.guarded_by = rig.database
    rig.link(worker)
    ended = await rig.ended(service, view.id)
    assert ended.state is PairingState.FAILED
    assert worker.outcome == "discarded"


async def test_fences_only_grow_and_outlive_the_counter_of_redis(rig: Rig) -> None:
    fences = Fences(rig.database)
    await fences.enter("one", [PHONE], 7)
    with pytest.raises(OvertakenError):
        await fences.enter("two", [PHONE], 6)
    assert await fences.highest() == 7
    service = await rig.service()
    view = await rig.linked(service)
    assert view.state is PairingState.LINKED
    assert await fences.highest() == 8
