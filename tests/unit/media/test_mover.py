"""All media moves to another store while the appliance works; whatever stops it, nothing is lost and it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance import database_copy
from appliance.database import Database
from appliance.database_copy import CopyError
from appliance.media.folder import FolderStore
from appliance.media.mover import Mover
from appliance.media.settings import StorageKind
from appliance.media.store import StoreError
from tests.unit.media.vault_rig import VaultRig


class MoveRig(VaultRig):
    """The other store is a folder as well: a mover knows no difference."""

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder, database)
        self.folder = folder
        self.other = FolderStore(folder / "other")
        self.room: int | None = None

    @property
    def mover(self) -> Mover:
        return Mover(
            *(self.vault, self.auditor, self.holdings, self.database.path),
            lambda kind: self.other if kind is StorageKind.S3 else self.store,
            self.folder / "backups",
            lambda: b"{}",
            lambda _kind: self.room,
        )

    async def move(self, *, remove_old: bool = False, stop_after: int | None = None) -> tuple[int, int]:
        done: list[int] = []
        task = asyncio.current_task()

        def progress(count: int) -> None:
            done.append(count)
            if stop_after is not None and count >= stop_after and task is not None:
                task.cancel()

        source = StorageKind(await self.holdings.kind() or StorageKind.FOLDER)
        report = await self.mover.move(source, StorageKind.S3, remove_old=remove_old, progress=progress)
        assert done == sorted(done)
        return report.copied, report.removed


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[MoveRig]:
    database = await Database.open(tmp_path / "amda.db")
    made = MoveRig(tmp_path, database)
    await made.bus.load()
    await made.vault.load()
    yield made
    await database.close()


async def test_everything_moves_and_new_media_goes_to_the_new_store(rig: MoveRig) -> None:
    views = [await rig.add("one", 1000) for _ in range(20)]
    assert await rig.move() == (20, 0)
    assert await rig.holdings.kind() == "s3"
    views.append(await rig.add("one", 1000))
    assert {found.key async for found in rig.other.list_objects()} == {view.key for view in views}
    assert len([found async for found in rig.store.list_objects()]) == 20, "the old copies stay until they are removed"
    [backup] = (rig.folder / "backups").iterdir()
    assert sqlite3.connect(backup / "amda.db").execute("SELECT count(*) FROM objects").fetchone() == (20,)
    assert (backup / "settings.json").stat().st_mode & 0o777 == 0o600
    assert await rig.move(remove_old=True) == (0, 20)
    assert [found async for found in rig.store.list_objects()] == []
    assert (await rig.auditor.measure()).missing == []


async def test_without_a_backup_that_can_be_read_nothing_is_moved(
    rig: MoveRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.add("one", 1000)

    def damaged(file: Path) -> int:
        raise CopyError(f"the copy {file} is not whole; check the disk")

    monkeypatch.setattr(database_copy, "check_database", damaged)
    with pytest.raises(CopyError, match="not whole"):
        await rig.move()
    assert await rig.holdings.kind() != "s3"
    assert [found async for found in rig.other.list_objects()] == []


async def test_a_disk_is_not_filled(rig: MoveRig) -> None:
    for _ in range(3):
        await rig.add("one", 1 << 20)
    rig.room = (3 << 20) - 1
    with pytest.raises(StoreError, match="3 MiB are to be copied to a disk that has room for 2 MiB"):
        await rig.move()
    assert [found async for found in rig.other.list_objects()] == []
    assert not (rig.folder / "backups").exists()
    rig.room = 3 << 20
    assert await rig.move() == (3, 0)


@pytest.mark.slow
async def test_what_comes_and_goes_meanwhile_is_right_afterwards(rig: MoveRig) -> None:
    for _ in range(200):
        await rig.add("one", 1000)
    moving = asyncio.create_task(rig.move(remove_old=True))
    for _ in range(40):
        await rig.add("two", 1000)
        [first, *_] = await rig.index.search(session="one", limit=1)
        await rig.vault.delete_item(first.id)
    await moving
    found = await rig.auditor.measure()
    assert (found.missing, found.damaged) == ([], [])
    await rig.keeper.tend()
    assert {item.key async for item in rig.other.list_objects()} == {v.key for v in await rig.index.search(limit=500)}


async def test_stopped_anywhere_it_goes_on_where_it_was(rig: MoveRig) -> None:
    views = [await rig.add("one", 1000) for _ in range(30)]
    copied = 0
    for stop_after in (3, 6, 9):
        moving = asyncio.create_task(rig.move(stop_after=stop_after))
        with pytest.raises(asyncio.CancelledError):
            await moving
        await rig.restart()
        rows = await rig.database.fetch_all("SELECT key FROM moved_objects")
        assert len(rows) >= copied
        copied = len(rows)
    assert copied > 3
    assert await rig.move() == (30 - copied, 0)
    assert {found.key async for found in rig.other.list_objects()} == {view.key for view in views}


async def test_what_is_damaged_keeps_everything_where_it_is(rig: MoveRig) -> None:
    views = [await rig.add("one", 1000) for _ in range(3)]
    (rig.settings.path / views[1].key).write_bytes(bytes(1000))
    with pytest.raises(StoreError, match="1 objects are missing or damaged"):
        await rig.move()
    assert await rig.holdings.kind() is None
    await rig.add("one", 1000)
    assert len([found async for found in rig.store.list_objects()]) == 4
    await rig.auditor.check(repair=True, hashes=True, progress=lambda _done: None)
    await rig.move()
    assert (await rig.auditor.measure()).missing == []
