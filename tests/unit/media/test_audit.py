"""Index and store compared both ways, and put right; the keeper does it every hour."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.database import Database
from appliance.media.store import StoreError
from appliance.model_storage import CheckReport
from tests.unit.media.store_contract import key, put
from tests.unit.media.vault_rig import VaultRig

Make = Callable[..., Any]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[VaultRig]:
    database = await Database.open(tmp_path / "amda.db")
    made = VaultRig(tmp_path, database)
    await made.bus.load()
    await made.vault.load()
    yield made
    await database.close()


async def _check(rig: VaultRig, *, repair: bool = False, hashes: bool = False) -> CheckReport:
    seen: list[int] = []
    report = await rig.auditor.check(repair=repair, hashes=hashes, progress=seen.append)
    assert seen == sorted(seen)
    return report


async def test_all_that_can_differ_is_found_and_put_right_and_nothing_else(rig: VaultRig) -> None:
    views = [await rig.add("one", 1000) for _ in range(6)]
    root = rig.settings.path
    (root / views[0].key).unlink()
    (root / views[1].key).write_bytes(b"short")
    content = bytearray((root / views[2].key).read_bytes())
    content[500] ^= 1
    rig.now += 60
    (root / views[2].key).write_bytes(content)
    await put(rig.store.inner, key(7, "two"), b"stray")
    (root / "readme.txt").write_text("not ours")

    report = await _check(rig)
    assert (report.missing, report.damaged, report.strays, report.stray_size) == (1, 1, 1, 5)
    assert (report.foreign, report.foreign_size) == (1, 8)
    assert report.named == [views[0].key, views[1].key, key(7, "two")]
    assert (await _check(rig, hashes=True)).damaged == 2, "only the hash tells"
    assert (root / key(7, "two")).exists(), "looking changes nothing"

    await _check(rig, repair=True, hashes=True)
    assert {view.id for view in await rig.index.search()} == {view.id for view in views[3:]}
    left = {found.key async for found in rig.store.list_objects()}
    assert left == {*(view.key for view in views[3:]), "readme.txt"}, "what is not ours stays"
    reasons = {(removal.media, removal.reason) for removal in await rig.holdings.removals(10)}
    assert reasons == {
        (views[0].id, "lost in the store"),
        (views[1].id, "damaged in the store"),
        (views[2].id, "damaged in the store"),
    }
    after = await _check(rig, hashes=True)
    assert (after.missing, after.damaged, after.strays, after.objects) == (0, 0, 0, 4)
    assert rig.vault.used == 3000


async def test_keeper_deletes_strays_counts_what_is_foreign_and_tells_once_what_is_lost(rig: VaultRig) -> None:
    views = [await rig.add("one", 1000) for _ in range(2)]
    (rig.settings.path / views[0].key).unlink()
    await put(rig.store.inner, key(7), b"stray")
    (rig.settings.path / "readme.txt").write_text("not ours")
    (rig.settings.path / ".incoming" / "half").write_bytes(b"ha")
    for _ in range(2):
        await rig.keeper.tend()
        assert {found.key async for found in rig.store.list_objects()} == {views[1].key, "readme.txt"}
        assert (rig.vault.used, rig.vault.foreign) == (2008, 8)
        assert not list((rig.settings.path / ".incoming").iterdir())
    events = rig.bus.subscribe(0)
    told = [(await anext(events)).type for _ in range(rig.bus.last_seq)]
    assert told.count("media.lost") == 1
    assert len(await rig.index.search()) == 2, "what is lost is told; taking it out is for people to decide"


async def test_store_that_is_away_is_noticed_and_what_waits_goes_on_when_it_is_back(
    rig: VaultRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    rig.vault.on_room(lambda: called.append("room"))
    await rig.keeper.probe()
    assert (rig.keeper.trouble, called) == ("", [])
    assert rig.keeper.latency_s is not None

    async def away(*_: object) -> None:
        raise StoreError("the store is away")

    with monkeypatch.context() as patch:
        for name in ("prepare", "delete"):
            patch.setattr(rig.store, name, away)
        view = await rig.add("one", 1000)
        await rig.keeper.probe()
        await rig.vault.delete_item(view.id)
        called.clear()
        assert (rig.keeper.trouble, rig.keeper.latency_s) == ("the store is away", None)
    await rig.keeper.probe()
    assert (rig.keeper.trouble, called) == ("", ["room"])
    assert rig.vault.used == 0
    assert [found async for found in rig.store.list_objects()] == []
