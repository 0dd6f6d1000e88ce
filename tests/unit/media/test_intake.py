"""From spool to store: nothing lost, nothing twice, nothing hostile obeyed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from appliance.database import Database
from appliance.events import EventBus
from appliance.media import spool
from appliance.media.aside import SetAside
from appliance.media.compression.compressor import Compressor
from appliance.media.compression.outcome import Result
from appliance.media.compression.settings import CompressionSettings
from appliance.media.compression.video import Ffmpeg
from appliance.media.folder import FolderStore
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex
from appliance.media.intake import ITEM_TRIES, MediaIntake
from appliance.media.settings import PruneMode, StorageSettings
from appliance.media.spool import MOST_POISON
from appliance.media.store import StoreError
from appliance.media.vault import Vault
from appliance.model import Category, EventView, MediaKind
from appliance.problems import ProblemError
from appliance.protocol import CaptureNote, Event, Spooled, SpoolItem
from tests.unit.media.compression.conftest import photo

JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 1000


class Rig:
    def __init__(self, folder: Path, database: Database) -> None:
        self.sessions = folder / "sessions"
        self.store = FolderStore(folder / "media")
        self.index = MediaIndex(database)
        self.bus = EventBus(database, kept=1000)
        self.holdings = Holdings(database)
        self.settings = StorageSettings(path=folder / "media")
        self.compressor = Compressor(CompressionSettings(), folder / "compressing", Ffmpeg([]))
        self.intake = self.intake_of(self.store)

    def intake_of(self, store: FolderStore, **changes: Any) -> MediaIntake:
        settings = msgspec.structs.replace(self.settings, **changes)
        vault = Vault(store, self.index, self.holdings, settings, self.bus, clock=lambda: 1_790_000_100.0)
        intake = MediaIntake(
            self.sessions,
            vault,
            self.index,
            self.holdings,
            self.compressor,
            self.bus,
            settings.spool_bytes,
            clock=lambda: 1_790_000_100.0,
        )
        self.vault = vault
        return intake

    def spool(self, name: str, data: bytes = JPEG, of: str = "one", **changes: Any) -> Path:
        folder = self.sessions / of / "store1" / "spool"
        folder.mkdir(parents=True, exist_ok=True)
        described = SpoolItem(
            item=name,
            session=of,
            category="statuses",
            kind=MediaKind.IMAGE,
            mimetype="image/jpeg",
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            message_id="M" + name,
            chat="status@broadcast",
            sender="221771234512@s.whatsapp.net",
            sent_at=1_790_000_000.0,
            captured_at=1_790_000_050.0,
        )
        (folder / f"{name}.data").write_bytes(data)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(described, **changes)))
        return folder

    async def read(self, key: str) -> bytes:
        return b"".join([piece async for piece in self.store.get(key)])


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    database = await Database.open(tmp_path / "amda.db")
    made = Rig(tmp_path, database)
    await made.bus.load()
    yield made
    await made.compressor.close()
    await database.close()


async def test_item_is_stored_indexed_announced_and_only_then_deleted(rig: Rig) -> None:
    folder = rig.spool("a")
    await rig.intake.drain("one")
    [view] = await rig.index.search()
    assert await rig.read(view.key) == JPEG
    assert view.key == f"statuses/one/2026-09-21/{hashlib.sha256(JPEG).hexdigest()[:32]}.jpg"
    assert (view.category, view.kind, view.size, view.message_id) == (Category.STATUS, MediaKind.IMAGE, len(JPEG), "Ma")
    assert view.sender == "+22177·····12@s.whatsapp.net"
    assert list(folder.iterdir()) == []
    assert rig.bus.last_seq == 1
    assert (await rig.index.usage())["one"].size == len(JPEG)


async def test_item_without_sidecar_is_not_touched(rig: Rig) -> None:
    folder = rig.spool("a")
    (folder / "a.json").unlink()
    await rig.intake.drain("one")
    assert [path.name for path in folder.iterdir()] == ["a.data"]
    assert await rig.index.search() == []


async def test_same_message_again_is_stored_once(rig: Rig) -> None:
    rig.spool("a")
    await rig.intake.drain("one")
    rig.spool("b", message_id="Ma")
    await rig.intake.drain("one")
    assert len(await rig.index.search()) == 1


async def test_same_content_in_two_messages_is_one_object_per_session(rig: Rig) -> None:
    rig.spool("a")
    rig.spool("b", category="deleted-messages", via="revoke")
    rig.spool("c", of="two")
    await rig.intake.drain("one")
    await rig.intake.drain("two")
    assert len(await rig.index.search(session="one")) == 2
    objects = [found.key async for found in rig.store.list_objects()]
    assert len(objects) == 2
    assert (await rig.index.usage())["one"].size == len(JPEG)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"size": 3}, "bytes instead of 3"),
        ({"session": "two"}, "another item or session"),
        ({"category": "../../etc"}, "cannot be read"),
        ({"item": "other"}, "another item"),
    ],
)
async def test_bad_item_is_set_aside_with_its_reason(rig: Rig, changes: dict[str, Any], reason: str) -> None:
    rig.spool("good")
    folder = rig.spool("bad", **changes)
    await rig.intake.drain("one")
    assert len(await rig.index.search()) == 1
    [poison] = await rig.index.poison()
    assert reason in poison.reason
    assert reason in (folder / "poison" / "bad.reason").read_text()
    assert sorted(path.name for path in (folder / "poison").iterdir()) == ["bad.data", "bad.json", "bad.reason"]
    assert [path.name for path in folder.iterdir()] == ["poison"]


async def test_unreadable_description_is_set_aside(rig: Rig) -> None:
    folder = rig.spool("bad")
    (folder / "bad.json").write_bytes(b"{")
    await rig.intake.drain("one")
    assert len(await rig.index.poison()) == 1


async def test_links_and_pipes_of_a_hostile_worker_are_not_followed(rig: Rig, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(JPEG)
    folder = rig.spool("link")
    (folder / "link.data").unlink()
    (folder / "link.data").symlink_to(secret)
    rig.spool("pipe")
    (folder / "pipe.data").unlink()
    os.mkfifo(folder / "pipe.data")
    await rig.intake.drain("one")
    assert await rig.index.search() == []
    assert {poison.item for poison in await rig.index.poison()} == {"link", "pipe"}
    assert secret.read_bytes() == JPEG


async def test_spool_that_is_a_link_is_not_entered(rig: Rig, tmp_path: Path) -> None:
    real = rig.spool("a", of="two")
    (rig.sessions / "one" / "store1").mkdir(parents=True)
    (rig.sessions / "one" / "store1" / "spool").symlink_to(real)
    await rig.intake.drain("one")
    assert (real / "a.json").exists()
    assert await rig.index.poison() == []


class FullStore(FolderStore):
    full = True

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        if self.full:
            raise StoreError("media folder: No space left on device; check free space")
        await super().put(key, source, size=size, sha256=sha256)


async def test_full_disk_keeps_the_item_and_says_so_until_there_is_room(rig: Rig, tmp_path: Path) -> None:
    store = FullStore(tmp_path / "media")
    intake = rig.intake_of(store)
    folder = rig.spool("a")
    with pytest.raises(ProblemError, match="No space left"):
        await intake.drain("one")
    assert (folder / "a.json").exists()
    assert "No space left" in intake.state.trouble
    store.full = False
    await intake.drain("one")
    assert intake.state.trouble == ""
    assert len(await rig.index.search()) == 1


async def test_full_database_keeps_the_item_and_the_intake_goes_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rig.spool("a")

    async def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.index, "add", full)
        with pytest.raises(ProblemError, match="disk is full"):
            await rig.intake.drain("one")
    assert (folder / "a.json").exists()
    await rig.intake.drain("one")
    assert len(await rig.index.search()) == 1


async def test_what_was_stored_is_told_though_the_daemon_was_killed_in_between(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    rig.spool("a")
    with monkeypatch.context() as patch:
        patch.setattr(rig.bus, "publish", crash)
        with pytest.raises(RuntimeError):
            await rig.intake.drain("one")
    (view,) = await rig.index.search()
    rig.intake = rig.intake_of(rig.store)
    for _ in range(2):  # the second time it is captured again, and was told
        await rig.intake.drain("one")
        rig.spool("a")
    assert await rig.bus.was_told("media.stored", "one", view.id)
    assert rig.bus.last_seq == 1


async def test_crash_after_storing_and_before_indexing_is_repaired(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.spool("a")

    async def crash(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(rig.index, "add", crash)
        with pytest.raises(RuntimeError):
            await rig.intake.drain("one")
    await rig.intake.drain("one")
    assert len(await rig.index.search()) == 1
    assert len([found async for found in rig.store.list_objects()]) == 1


async def test_hint_is_followed_at_once_and_start_looks_everywhere(rig: Rig) -> None:
    rig.spool("before")
    running = asyncio.create_task(rig.intake.run())
    events = rig.bus.subscribe(0)
    async with asyncio.timeout(5):
        assert (await anext(events)).type == "media.stored"
        rig.spool("after", data=JPEG + b"2")
        await rig.intake.on_event("one", "store1", Event(seq=1, at=0.0, body=Spooled(item="after")))
        assert (await anext(events)).type == "media.stored"
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert len(await rig.index.search()) == 2


async def test_forgetting_a_session_leaves_the_others(rig: Rig) -> None:
    for session in ("one", "two"):
        rig.spool("a", of=session)
        await rig.intake.drain(session)
    assert await rig.intake.forget_session("one") == 1
    assert [view.session for view in await rig.index.search()] == ["two"]
    assert len([found async for found in rig.store.list_objects()]) == 1


async def test_pages_are_complete_and_without_repetition(rig: Rig) -> None:
    for number in range(7):
        rig.spool(f"i{number}", data=JPEG + bytes([number]))
    await rig.intake.drain("one")
    seen: list[str] = []
    before = None
    while page := await rig.index.search(before=before, limit=3):
        seen += [view.id for view in page]
        before = (page[-1].stored_at, page[-1].id)
    assert len(seen) == len(set(seen)) == 7


async def test_get_serves_a_part(rig: Rig) -> None:
    rig.spool("a")
    await rig.intake.drain("one")
    [view] = await rig.index.search()
    assert b"".join([piece async for piece in rig.store.get(view.key, 4, 7)]) == b"picture"
    with pytest.raises(KeyError):
        _ = [piece async for piece in rig.store.get(view.key.replace("statuses", "view-once"))]


async def test_at_the_quota_media_waits_then_is_refused_visibly_and_room_lets_the_rest_in(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    mib = 1 << 20
    rig.intake = rig.intake_of(rig.store, quota_bytes=mib, spool_bytes=mib, prune_mode=PruneMode.MANUAL)
    big = JPEG + bytes(600_000)
    rig.spool("a", data=big)
    await rig.intake.drain("one")
    for number, name in enumerate("bcd"):
        folder = rig.spool(name, data=big + bytes([number]), of="two")
        os.utime(folder / f"{name}.data", (1000 + number, 1000 + number))
    with pytest.raises(ProblemError, match="storage quota"):
        await rig.intake.drain("two")
    refused = await rig.holdings.refusals(10)
    assert [(found.session, found.message_id) for found in refused] == [("two", "Mc"), ("two", "Mb")]
    assert all("storage quota" in found.reason for found in refused)
    assert {path.name for path in folder.iterdir()} == {"d.json", "d.data"}, "the newest waits"
    with monkeypatch.context() as patch:
        patch.setattr(rig.vault, "add", None)
        with pytest.raises(ProblemError, match="storage quota"):
            await rig.intake.drain("two")  # and is not looked at again before there is room
    running = asyncio.create_task(rig.intake.run())
    events = rig.bus.subscribe(rig.bus.last_seq)
    [stored] = await rig.index.search()
    async with asyncio.timeout(10):
        await rig.vault.delete_item(stored.id)
        assert (await anext(events)).data["message_id"] == "Md"
        await rig.intake.drain("two")
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert rig.intake.state.trouble == ""


async def test_a_photo_is_stored_smaller_and_both_hashes_are_kept(rig: Rig) -> None:
    data = photo(1200, 900)
    rig.spool("a", data)
    rig.spool("b", data, of="two")
    await rig.intake.drain("one")
    await rig.intake.drain("two")
    for view in await rig.index.search():
        stored = await rig.read(view.key)
        assert len(stored) == view.size < len(data) == view.original_size
        assert hashlib.sha256(stored).hexdigest() == view.stored_sha256 != view.sha256
        assert view.sha256 == hashlib.sha256(data).hexdigest()
        assert view.treatment == "compressed"
    assert rig.vault.used == sum(view.size for view in await rig.index.search())
    assert rig.intake.state.saved_bytes == 2 * len(data) - rig.vault.used
    assert (await rig.holdings.usage(0.0))[0].original_size == len(data)


async def test_the_same_again_is_not_made_smaller_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photo(1200, 900)
    rig.spool("a", data)
    await rig.intake.drain("one")
    monkeypatch.setattr(rig.compressor, "compress", None)
    rig.spool("b", data, category="deleted-messages")
    await rig.intake.drain("one")
    first, second = await rig.index.search()
    assert (first.key, first.mimetype, first.size) == (second.key, second.mimetype, second.size)


async def test_a_broken_picture_is_stored_as_it_came_and_marked(rig: Rig) -> None:
    broken = photo(1200, 900)[:200_000]
    rig.spool("a", broken)
    await rig.intake.drain("one")
    [view] = await rig.index.search()
    assert await rig.read(view.key) == broken
    assert (view.treatment, view.stored_sha256) == ("unreadable", view.sha256)


async def test_a_photo_does_not_wait_for_a_film(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, released = asyncio.Event(), asyncio.Event()
    compress = rig.compressor.compress

    async def slow(source: BinaryIO, **what: Any) -> Result:
        if what["kind"] is MediaKind.VIDEO:
            begun.set()
            await released.wait()
        return await compress(source, **what)

    monkeypatch.setattr(rig.compressor, "compress", slow)
    rig.spool("film", b"\0\0\0\x18ftypisom" + bytes(200_000), kind=MediaKind.VIDEO)
    events = rig.bus.subscribe(rig.bus.last_seq)
    running = asyncio.create_task(rig.intake.run())
    async with asyncio.timeout(10):
        await begun.wait()
        rig.spool("picture")
        await rig.intake.on_event("one", "store1", Event(seq=1, at=0.0, body=Spooled(item="picture")))
        assert (await anext(events)).data["message_id"] == "Mpicture"
        released.set()
        assert (await anext(events)).data["message_id"] == "Mfilm"
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


class _Picky(FolderStore):
    """Refuses one content for ever, as a store does that takes something in it for a virus."""

    def __init__(self, root: Path, refused: bytes) -> None:
        super().__init__(root)
        self._refused = hashlib.sha256(refused).hexdigest()

    async def put(self, key: str, source: BinaryIO, *, size: int, sha256: str) -> None:
        if sha256 == self._refused:
            raise StoreError("403 Forbidden")
        await super().put(key, source, size=size, sha256=sha256)


async def test_an_item_that_fails_while_others_get_through_is_set_aside(rig: Rig) -> None:
    intake = rig.intake_of(_Picky(rig.store._root, JPEG))
    folder = rig.spool("a")
    for number in range(ITEM_TRIES - 1):
        assert await rig.index.poison() == []
        for _ in range(ITEM_TRIES + 1):
            await drained(intake)  # nothing else gets through meanwhile: that counts only once
        rig.spool(f"b{number}", JPEG + bytes([number]))
        await drained(intake)
    [poison] = await rig.index.poison()
    assert (poison.item, "403 Forbidden" in poison.reason) == ("a", True)
    assert len(await rig.index.search()) >= ITEM_TRIES - 1
    assert (folder / "poison" / "a.data").exists()
    assert intake.state.poisoned == 1


async def drained(intake: MediaIntake) -> None:
    with contextlib.suppress(ProblemError):
        await intake.drain("one")


async def test_what_was_set_aside_is_shown_and_tried_again_by_hand(rig: Rig) -> None:
    folder = rig.spool("a", sha256="0" * 64)
    await rig.intake.drain("one")
    hints: list[tuple[str, str]] = []
    aside = SetAside(rig.sessions, rig.index, lambda session, store: hints.append((session, store)))
    [poison] = await rig.index.poison()
    await aside.retry("one", "a")
    assert hints == [("one", "store1")]
    assert await rig.index.poison() == []
    assert {path.name for path in folder.iterdir() if path.is_file()} == {"a.data", "a.json"}
    await rig.intake.drain("one")
    assert [found.reason for found in await rig.index.poison()] == [poison.reason], "still wrong: set aside again"
    rig.spool("a")  # somebody has mended it
    await aside.discard("one", "a")
    assert await rig.index.poison() == []
    assert list((folder / "poison").iterdir()) == []
    await rig.intake.drain("one")
    assert len(await rig.index.search()) == 1
    for method in (aside.retry, aside.discard):
        with pytest.raises(ProblemError, match="set aside"):
            await method("one", "a")


async def test_what_waits_is_counted_by_session(rig: Rig) -> None:
    rig.spool("a")
    rig.spool("b")
    rig.spool("c", of="two", data=JPEG * 9)
    rows = await SetAside(rig.sessions, rig.index, lambda *_: None).waiting()
    assert [(row.session, row.items, row.size) for row in rows] == [
        ("two", 1, 9 * len(JPEG)),
        ("one", 2, 2 * len(JPEG)),
    ]
    assert all(0 <= row.oldest_s < 60 for row in rows)


async def test_a_worker_gone_mad_does_not_fill_the_disk_with_what_is_set_aside(rig: Rig) -> None:
    for number in range(MOST_POISON + 3):
        folder = rig.spool(f"i{number:03}", b"x", sha256="0" * 64)
    await rig.intake.drain("one")
    assert len(list((folder / "poison").glob("*.data"))) == MOST_POISON
    assert len(await rig.index.poison()) == MOST_POISON + 3, "why is known of all of them"


async def test_few_large_items_that_are_set_aside_do_not_fill_it_either(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "MOST_POISON_BYTES", 2500)
    for number in range(4):
        folder = rig.spool(f"i{number}", bytes(1000), sha256="0" * 64)
        await rig.intake.drain("one")
    assert len(list((folder / "poison").glob("*.data"))) == 2
    rig.spool("large", bytes(5000), sha256="0" * 64)
    await rig.intake.drain("one")
    assert [path.name for path in (folder / "poison").glob("*.data")] == ["large.data"], "the latest can be looked at"


async def test_on_a_full_disk_items_wait(rig: Rig) -> None:
    trouble = "the disk is nearly full"
    intake = rig.intake_of(rig.store)
    intake._refuses = lambda: trouble
    folder = rig.spool("a")
    with pytest.raises(ProblemError, match="nearly full"):
        await intake.drain("one")
    assert (folder / "a.data").exists()
    trouble = ""
    await intake.drain("one")
    assert len(await rig.index.search()) == 1
    assert intake.state.trouble == ""


async def test_what_a_worker_notes_is_told(rig: Rig) -> None:
    note = CaptureNote(note="view_once_placeholder", message_id="M1")
    await rig.intake.on_event("one", "store1", Event(seq=1, at=0.0, body=note))
    [event] = [event async for event in _until(rig.bus, 1)]
    assert (event.type, event.session, event.data["note"]) == ("media.note", "one", "view_once_placeholder")


async def test_purging_leaves_nothing_to_take_in_later(rig: Rig) -> None:
    folder = rig.spool("a")
    await rig.intake.on_remove("one", purge=True)
    assert list(folder.iterdir()) == []
    await rig.intake.drain("one")
    assert await rig.index.search() == []


async def _until(bus: EventBus, last: int) -> AsyncIterator[EventView]:
    async for event in bus.subscribe(0):
        yield event
        if event.seq >= last:
            return
