"""Linking attempts on real processes: their store, their end, and a new link beside a running session."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from appliance.model import SessionState
from appliance.problems import ProblemError
from appliance.protocol import PairByCode, Paired, PairFailed, SendText
from tests.integration.sessions.conftest import WAIT_S, Bed


def stores(bed: Bed, session: str) -> set[str]:
    return {path.name for path in (bed.folder / "sessions" / session).iterdir() if path.is_dir()}


async def test_a_failed_attempt_leaves_nothing(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    attempt = await daemon.begin_pairing("anna", "one")
    assert stores(bed, "anna") == {"one"}
    await attempt.command(PairByCode(phone="221770000012"), WAIT_S)
    await attempt.command(SendText(to="phone", text="refused"), WAIT_S)
    seen = [event.body async for event in attempt.events()]
    assert isinstance(seen[-1], PairFailed)
    with pytest.raises(ProblemError, match="not accepted"):
        await attempt.promote()
    await attempt.discard()
    assert stores(bed, "anna") == set()
    assert (await daemon.service.get("anna")).state is SessionState.NEW
    await daemon.link("anna", "two", create=False)


async def test_waiting_for_events_can_be_given_up_and_taken_up(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    attempt = await daemon.begin_pairing("anna", "one")
    events = attempt.events()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(events)
    await attempt.command(PairByCode(phone="221770000012"), WAIT_S)
    async with asyncio.timeout(WAIT_S):
        assert (await anext(events)).seq == 1
    await attempt.discard()


async def test_operations_exclude_each_other_and_name_the_holder(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    attempt = await daemon.begin_pairing("anna", "one")
    for operation in (
        daemon.begin_pairing("anna", "two"),
        daemon.service.stop("anna"),
        daemon.service.remove("anna", purge=False),
    ):
        with pytest.raises(ProblemError, match="pair is under way") as caught:
            await operation
        assert caught.value.problem.status == 409
    await attempt.discard()
    await daemon.service.stop("anna")


async def test_an_accepted_attempt_that_is_discarded_is_unlinked(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    attempt = await daemon.begin_pairing("anna", "one")
    await attempt.command(SendText(to="phone", text="types"), WAIT_S)
    events = attempt.events()
    async with asyncio.timeout(WAIT_S):
        await anext(events)
    await attempt.discard()
    assert len(bed.journal("anna", "logout")) == 1


async def test_a_guard_that_raises_keeps_everything_as_it_was(bed: Bed) -> None:
    daemon = await bed.daemon()
    before = await daemon.link("anna")
    attempt = await daemon.begin_pairing("anna", "two")
    await attempt.command(SendText(to="phone", text="types"), WAIT_S)
    async with asyncio.timeout(WAIT_S):
        await anext(attempt.events())

    async def guard(_connection: object) -> None:
        raise ValueError("the lock was taken over")

    with pytest.raises(ValueError, match="taken over"):
        await attempt.promote(guard)
    await attempt.discard()
    after = await daemon.service.get("anna")
    assert (after.generation, after.pid, after.state) == (before.generation, before.pid, SessionState.ONLINE)
    assert stores(bed, "anna") == {"first"}


async def test_a_new_link_takes_over_while_the_old_one_runs(bed: Bed) -> None:
    daemon = await bed.daemon()
    drained: list[str] = []

    async def drain(session: str) -> None:
        drained.append(session)

    daemon.service.on_drain(drain)
    old = await daemon.link("anna")
    attempt = await daemon.begin_pairing("anna", "second")
    assert (await daemon.service.get("anna")).state is SessionState.ONLINE
    await attempt.discard()
    new = await daemon.link("anna", "third", create=False)
    assert new.generation == 2
    assert new.pid != old.pid
    async with asyncio.timeout(WAIT_S):
        while stores(bed, "anna") != {"third"}:  # noqa: ASYNC110 - a folder that goes sends no event
            await asyncio.sleep(0.02)
    assert "anna" in drained
    assert len(bed.journal("anna", "logout")) == 1
    assert [row["reason"] for row in await daemon.rows("anna")] == ["superseded"]
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    assert (await daemon.reaches("anna", SessionState.ONLINE)).pid == new.pid


async def test_an_attempt_that_its_daemon_left_behind_is_ended_and_cleaned_up(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    attempt = await daemon.begin_pairing("anna", "second")
    assert attempt.process is not None
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    await daemon.reaches("anna", SessionState.ONLINE)
    async with asyncio.timeout(WAIT_S):
        while stores(bed, "anna") != {"first"}:  # noqa: ASYNC110 - a folder that goes sends no event
            await asyncio.sleep(0.02)
    assert len(await daemon.rows("anna")) == 0


async def test_a_media_item_in_a_former_store_keeps_it(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    spool = bed.folder / "sessions" / "anna" / "first" / "spool"
    spool.mkdir(exist_ok=True)
    (spool / "item.json").write_text("{}", "ascii")
    await daemon.link("anna", "second", create=False)
    assert stores(bed, "anna") == {"first", "second"}


async def test_an_accepted_attempt_that_its_daemon_left_behind_is_unlinked(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    attempt = await daemon.begin_pairing("anna", "one")
    await attempt.command(SendText(to="phone", text="types"), WAIT_S)
    await bed.stop_daemon(daemon)
    await bed.daemon()
    async with asyncio.timeout(WAIT_S):
        while stores(bed, "anna"):  # noqa: ASYNC110 - a folder that goes sends no event
            await asyncio.sleep(0.02)
    assert len(bed.journal("anna", "logout")) == 1


async def test_an_accepted_worker_that_died_before_it_was_promoted_is_replaced_by_a_new_process(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    attempt = await daemon.begin_pairing("anna", "one")
    await attempt.command(SendText(to="phone", text="types"), WAIT_S)
    assert attempt.process is not None
    dead, events = attempt.process.pid, attempt.events()
    async with asyncio.timeout(WAIT_S):
        assert isinstance((await anext(events)).body, Paired)
        os.kill(dead, signal.SIGKILL)
        async for _ in events:
            pass
    await attempt.promote()
    view = await daemon.reaches("anna", SessionState.ONLINE)
    assert (view.generation, view.pid != dead) == (1, True)
    assert stores(bed, "anna") == {"one"}
