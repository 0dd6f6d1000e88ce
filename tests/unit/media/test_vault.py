"""The store never holds more than its quota, whatever is stored, removed, pinned or killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.database import Database
from appliance.media import holdings, vault
from appliance.media.pruning import Pruning
from appliance.media.settings import PruneMode
from appliance.media.store import StoreError
from appliance.media.vault import NoRoomError
from appliance.model import Category
from appliance.model_api import PoisonView
from appliance.model_storage import PruneRequest
from tests.spool_items import captured
from tests.unit.media.vault_chance import QUOTA, SESSION_QUOTA, take_chances
from tests.unit.media.vault_rig import VaultRig, bytes_below

MIB = 1 << 20
KIB = 1 << 10
DAY_S = 86_400.0
Make = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    database = await Database.open(tmp_path / "amda.db")

    async def made(**changes: Any) -> VaultRig:
        rig = VaultRig(tmp_path, database, **changes)
        await rig.bus.load()
        await rig.vault.load()
        return rig

    yield made
    await database.close()


async def _keys(rig: VaultRig) -> set[str]:
    return {found.key async for found in rig.store.list_objects()}


async def test_flood_of_one_session_costs_another_one_nothing(make: Make) -> None:
    rig = await make(quota_bytes=10 * MIB)
    kept = [(await rig.add("quiet", 400 * KIB)).id for _ in range(10)]
    for _ in range(100):
        await rig.add("flood", 500 * KIB)
    assert {view.id for view in await rig.index.search(session="quiet")} == set(kept)
    assert rig.store.most <= 10 * MIB
    removed = await rig.holdings.removals(1000)
    assert {removal.session for removal in removed} == {"flood"}
    assert {removal.reason for removal in removed} == {"quota"}
    left = await rig.index.search(session="flood", limit=500)
    assert len(left) + len(removed) == 100, "every removal is on record"
    assert max(removal.stored_at for removal in removed) < min(view.stored_at for view in left), "the oldest go"


async def test_age_counts_by_category_and_pins_stay(make: Make) -> None:
    rig = await make(keep_days_statuses=1, keep_days_deleted=10)
    old = await rig.add("one", 1000)
    pinned = await rig.add("one", 1001)
    deleted = await rig.add("one", 1002, category=Category.DELETED)
    shared = await rig.add("one", 1003, content=1)
    again = await rig.add("one", 1003, content=1, category=Category.DELETED)
    assert shared.key == again.key, "one content is stored once per session"
    await rig.vault.pin(pinned.id, pinned=True)
    rig.now += 2 * DAY_S
    told = await rig.vault.prune(PruneRequest(dry_run=True))
    assert (told.objects, told.by_reason) == (1, {"expired": 1})
    assert len(await rig.index.search()) == 5, "a dry run removes nothing"
    report = await rig.vault.prune(PruneRequest())
    assert (report.objects, report.size, report.used) == (1, 1000, told.used)
    assert {view.id for view in await rig.index.search()} == {pinned.id, deleted.id, shared.id, again.id}
    [removal] = await rig.holdings.removals(10)
    assert (removal.media, removal.reason, removal.size) == (old.id, "expired", 1000)
    rig.now += 20 * DAY_S
    await rig.vault.prune(PruneRequest())
    assert [view.id for view in await rig.index.search()] == [pinned.id]
    assert await _keys(rig) == {pinned.key}


async def test_content_goes_with_the_last_item_that_refers_to_it(make: Make) -> None:
    rig = await make()
    first, second = [await rig.add("one", 1000, content=1) for _ in range(2)]
    other = await rig.add("two", 1000, content=1)
    assert (await rig.index.usage())["one"].count == 2
    assert await rig.vault.delete_item(first.id)
    assert await _keys(rig) == {second.key, other.key}
    assert await rig.vault.delete_item(second.id)
    assert await _keys(rig) == {other.key}
    assert not await rig.vault.delete_item(second.id)
    assert [removal.size for removal in await rig.holdings.removals(10)] == [1000, 0]


async def test_what_was_only_noted_is_forgotten_in_the_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await make()
    monkeypatch.setattr(holdings, "NOTES_KEPT", 3)
    for number in range(5):
        await rig.holdings.refuse(captured(f"i{number}"), "full", float(number))
        await rig.index.add_poison(
            PoisonView(session="one", item=f"i{number}", reason="bad", folder="f", at=float(number))
        )
    await rig.holdings.trim_records()
    assert [refusal.message_id for refusal in await rig.holdings.refusals(10)] == ["i4", "i3", "i2"]
    assert [found.item for found in await rig.index.poison()] == ["i4", "i3", "i2"]


async def test_manual_mode_deletes_nothing_and_refuses_at_the_quota(make: Make) -> None:
    rig = await make(quota_bytes=MIB, prune_mode=PruneMode.MANUAL, keep_days_statuses=1)
    views = [await rig.add("one", 200 * KIB) for _ in range(5)]
    with pytest.raises(NoRoomError, match="storage quota"):
        await rig.add("one", 200 * KIB)
    rig.now += 5 * DAY_S
    assert (await rig.keeper.tend()).dry_run
    assert len(await _keys(rig)) == 5
    assert rig.vault.shares()[0] == pytest.approx(1000 / 1024, abs=0.001)
    asked = await rig.vault.prune(PruneRequest(older_than_s=5 * DAY_S, to_size=500 * KIB))
    assert asked.objects == 3
    assert {view.id for view in await rig.index.search()} == {view.id for view in views[3:]}
    await rig.add("one", 200 * KIB)


async def test_session_quota_takes_from_that_session_alone(make: Make) -> None:
    rig = await make(session_quota_bytes=MIB)
    other = await rig.add("two", 900 * KIB)
    for _ in range(20):
        await rig.add("one", 100 * KIB)
    usage = await rig.report.usage()
    assert {use.session: use.share is not None and use.share <= 1 for use in usage.sessions} == {
        "one": True,
        "two": True,
    }
    assert (await rig.index.get(other.id)) is not None
    assert (await rig.holdings.by_category())[Category.STATUS].size == rig.vault.used
    shares = (await rig.keeper.quota_use()).sessions
    assert shares["one"] <= 1
    assert shares["two"] == pytest.approx(900 / 1024, abs=0.001)
    assert {removal.reason for removal in await rig.holdings.removals(100)} == {"session quota"}


async def test_everything_pinned_leaves_no_room_and_loses_nothing(make: Make) -> None:
    rig = await make(quota_bytes=MIB)
    for _ in range(5):
        await rig.vault.pin((await rig.add("one", 200 * KIB)).id, pinned=True)
    with pytest.raises(NoRoomError, match="unpin"):
        await rig.add("two", 200 * KIB)
    assert len(await _keys(rig)) == 5


async def test_what_cannot_be_deleted_goes_on_counting(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await make()
    view = await rig.add("one", 1000)

    async def away(_keys: object) -> None:
        raise StoreError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(rig.store, "delete", away)
        await rig.vault.delete_item(view.id)
        assert rig.vault.used == 1000
    await rig.restart()
    assert rig.vault.used == 0
    assert await _keys(rig) == set()


async def test_a_prune_says_how_far_it_is_and_leaves_the_rest_when_it_is_stopped(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "_BATCH", 2)
    rig = await make()
    for _ in range(6):
        await rig.add("one", 1000)
    seen: list[tuple[int, int, int, int]] = []

    def told(course: Pruning) -> None:
        seen.append((course.objects, course.objects_planned, course.size, course.size_planned))
        if course.objects == 4:
            course.stop()

    report = await rig.vault.prune(PruneRequest(session="one"), Pruning(told))
    assert seen == [(0, 6, 0, 6000), (2, 6, 2000, 6000), (4, 6, 4000, 6000)]
    assert (report.stopped, report.objects, report.size, report.used) == (True, 4, 4000, 2000)
    assert (report.by_reason, report.by_session) == ({"asked": 4}, {"one": 4000})
    assert rig.vault.used == bytes_below(rig.settings.path) == 2000
    rest = await rig.vault.prune(PruneRequest(session="one"))
    assert (rest.stopped, rest.objects, rest.used) == (False, 2, 0)


async def test_caller_that_is_cancelled_leaves_the_counts_right(make: Make) -> None:
    rig = await make()
    for _ in range(10):
        adding = asyncio.create_task(rig.add("one", 1000))
        await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
    assert rig.vault.used == bytes_below(rig.settings.path) == (await rig.holdings.used()).get("one", 0)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_random_steps_and_kills_never_pass_the_quota(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand are in the long suite. (Durability is not the question.)"""
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    rig = await make(quota_bytes=QUOTA, session_quota_bytes=SESSION_QUOTA)
    await rig.database._writer.execute("PRAGMA synchronous=OFF")
    await take_chances(rig, steps=1000, seed=6)
