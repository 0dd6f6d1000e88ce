"""The capture store: durable, bounded, one owner."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from appliance.model import MediaKind
from appliance.protocol import CaptureSettings, Signal, SignalKind
from appliance.worker.engine.events import Incoming, MediaRef, RawKind
from appliance.worker.rules import Fetch
from appliance.worker.store import (
    CaptureStore,
    Recorder,
    StoreBrokenError,
    StoreLock,
    StoreLockedError,
    SupersededError,
)
from tests.spool_items import captured


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> CaptureStore:
    store = CaptureStore(tmp_path, clock)
    store.open(3)
    return store


def text(number: int, size: int = 10) -> Incoming:
    return Incoming(id=f"M{number}", chat="1@lid", sender="1@lid", from_me=False, sent_at=0.0, text="x" * size)


def fetch(name: str) -> Fetch:
    media = MediaRef(kind=MediaKind.IMAGE, mimetype="", size=1, sha256=b"", enc_sha256=b"")
    return Fetch(item=captured(name, "a"), media=media)


def test_settings_of_sqlite_are_those_that_outlive_a_power_cut(store: CaptureStore, tmp_path: Path) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert (tmp_path / "capture.db").stat().st_mode & 0o777 == 0o600
    recorder = Recorder(tmp_path)
    assert recorder.record(RawKind.MESSAGE, "M1", "", b"raw")
    assert recorder._db is not None
    assert recorder._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_recorded_events_come_back_in_order_from_another_thread(store: CaptureStore, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    thread = threading.Thread(
        target=lambda: [recorder.record(RawKind.MESSAGE, f"M{n}", "", b"%d" % n) for n in range(3)]
    )
    thread.start()
    thread.join(10)
    assert store.inbox_length() == 3
    assert store.recent_ids(10) == ["M0", "M1", "M2"]
    for expected in (b"0", b"1", b"2"):
        entry = store.next_recorded()
        assert entry is not None
        assert (entry.raw, entry.kind) == (expected, RawKind.MESSAGE)
        store.forget_recorded(entry.id)
    assert store.next_recorded() is None


def test_recorder_waits_for_space_and_gives_up_when_stopped(
    store: CaptureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.worker.store._DISK_FULL_RETRY_S", 0.01)
    recorder = Recorder(tmp_path)
    assert recorder.record(RawKind.MESSAGE, "M1", "", b"small")
    assert recorder._db is not None
    pages = recorder._db.execute("PRAGMA page_count").fetchone()[0]
    recorder._db.execute(f"PRAGMA max_page_count={pages}")  # SQLite then says the disk is full
    result: list[bool] = []
    thread = threading.Thread(target=lambda: result.append(recorder.record(RawKind.MESSAGE, "M2", "", bytes(100_000))))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    recorder.stop()
    thread.join(10)
    assert result == [False]


def test_newer_generation_wins(store: CaptureStore, tmp_path: Path) -> None:
    store.close()
    older = CaptureStore(tmp_path)
    with pytest.raises(SupersededError):
        older.open(2)
    newer = CaptureStore(tmp_path)
    newer.open(4)
    assert newer.generation() == 4


def test_foreign_or_broken_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "capture.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreBrokenError):
        CaptureStore(tmp_path).open(1)


def test_newer_format_is_refused(store: CaptureStore, tmp_path: Path) -> None:
    store._set_meta("schema", "99")
    store.close()
    with pytest.raises(StoreBrokenError, match="format 99"):
        CaptureStore(tmp_path).open(3)


def test_lock_is_held_once(tmp_path: Path) -> None:
    first, second = StoreLock(tmp_path), StoreLock(tmp_path)
    first.acquire()
    with pytest.raises(StoreLockedError):
        second.acquire()
    first.release()
    second.acquire()


def test_messages_are_new_once(store: CaptureStore) -> None:
    assert store.is_new(b"k", "M1")
    assert store.has_seen(b"k")
    assert not store.is_new(b"k", "M1")


def test_memory_is_pruned_by_age_and_size(store: CaptureStore, clock: Clock) -> None:
    settings = CaptureSettings(keep_hours=1, keep_bytes=20_000)
    store.remember(text(0))
    clock.now += 3601
    store.remember(text(1))
    assert store.prune(settings) == 1
    assert (store.recall("M0"), len(store.recall("M1"))) == ([], 1)
    for number in range(2, 300):
        store.remember(text(number, 1000))
    store.prune(settings)
    assert 0 < store.remembered_bytes() <= 20_000 or store.recall("M299") == []


def test_edited_message_is_recalled_with_all_its_texts(store: CaptureStore) -> None:
    store.remember(text(1, 3))
    store.remember(Incoming(id="E", chat="1@lid", sender="1@lid", from_me=False, sent_at=0.0, text="new", edits="M1"))
    assert [message.text for message in store.recall("M1")] == ["xxx", "new"]


def test_downloads_wait_in_order_of_urgency(store: CaptureStore, clock: Clock) -> None:
    for name, priority in (("b", 2), ("a", 0), ("c", 1)):
        store.add_download(fetch(name), priority)
    store.add_download(fetch("a"), 5)  # keeps its place
    assert [pending.fetch.item.item for pending in store.due_downloads(clock.now, 10)] == ["a", "c", "b"]
    store.postpone_download("a", 2, clock.now + 5)
    assert [pending.fetch.item.item for pending in store.due_downloads(clock.now, 1)] == ["c"]
    store.forget_download("c")
    store.forget_download("b")
    assert store.next_download_at() == clock.now + 5
    clock.now += 5
    assert store.due_downloads(clock.now, 1)[0].attempts == 2


def test_numbers_of_events_only_grow(store: CaptureStore, tmp_path: Path) -> None:
    assert store.oldest_event() == store.next_event() == 1
    first = store.append_event(Signal(kind=SignalKind.CONNECTED))
    second = store.append_event(Signal(kind=SignalKind.DISCONNECTED, code=503))
    assert store.oldest_event() == first.seq == 1
    store.acknowledge(second.seq)
    assert store.events_after(0, 10) == []
    store.close()
    again = CaptureStore(tmp_path)
    again.open(3)
    assert again.oldest_event() == again.next_event() == 3
    assert again.append_event(Signal(kind=SignalKind.CONNECTED)).seq == 3


def test_transaction_is_all_or_nothing(store: CaptureStore) -> None:
    def fail_halfway() -> None:
        with store.transaction():
            store.append_event(Signal(kind=SignalKind.CONNECTED))
            with store.transaction():
                store.remember(text(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert store.events_after(0, 10) == []
    assert store.recall("M1") == []
    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store._db.execute("INSERT INTO downloads VALUES (NULL, 0, 0, 0, x'')")
