"""Downloads against an engine that fails in every way it can."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from appliance.protocol import CaptureNote, CaptureSettings, EventBody, Spooled
from appliance.worker.downloads import (
    FIRST_PAUSE_S,
    FULL_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_ATTEMPTS,
    Downloads,
    pause_after,
    time_limit,
)
from appliance.worker.engine.calls import EngineTimeoutError
from appliance.worker.engine.events import MediaRef
from appliance.worker.engine.library import EngineError
from appliance.worker.held import Held
from appliance.worker.rules import HELD, Fetch, Note
from appliance.worker.spool import Spool
from appliance.worker.store import CaptureStore
from tests.unit.worker.test_store import Clock, fetch


class FakeEngine:
    def __init__(self) -> None:
        self.calls = 0
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    async def download(self, media: MediaRef, part: Path, timeout_s: float) -> int:  # noqa: ARG002
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
            return part.write_bytes(b"data")  # noqa: ASYNC240
        finally:
            self.running -= 1


class Harness:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.store = CaptureStore(folder, self.clock)
        self.store.open(1)
        self.spool = Spool(folder)
        self.spool.prepare()
        self.engine = FakeEngine()
        self.held = Held(self.spool.folder, self.clock)
        self.copied: list[tuple[str, bytes]] = []
        self.settings = CaptureSettings(parallel_downloads=2)
        self.emitted: list[EventBody] = []
        self.changed = asyncio.Event()
        self.downloads = Downloads(
            store=self.store,
            spool=self.spool,
            held=self.held,
            copy=lambda item, data: self.copied.append((item.item, data.read_bytes())),
            downloader=self.engine,
            settings=lambda: self.settings,
            emit=self._emit,
            write_log=lambda *_: self.changed.set(),
            clock=self.clock,
        )

    def _emit(self, body: EventBody) -> None:
        self.emitted.append(body)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), 0.02)

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.downloads.wake()


@pytest_asyncio.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    task = asyncio.create_task(harness.downloads.run())
    yield harness
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    harness.store.close()


async def test_item_is_spooled_told_and_forgotten(harness: Harness) -> None:
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.emitted == [Spooled(item="i1")])
    assert harness.store.next_download_at() is None
    assert (harness.spool.folder / "i1.data").read_bytes() == b"data"


async def test_few_at_a_time(harness: Harness) -> None:
    harness.engine.gate.clear()
    for number in range(6):
        harness.store.add_download(fetch(f"i{number}"), number)
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.engine.running == 2)
    harness.engine.gate.set()
    await harness.until(lambda: len(harness.emitted) == 6)
    assert harness.engine.most == 2


async def test_nothing_is_tried_while_disconnected(harness: Harness) -> None:
    harness.store.add_download(fetch("i1"), 0)
    await asyncio.sleep(0)
    assert harness.engine.calls == 0
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.engine.calls == 1)


async def test_what_is_larger_than_it_was_said_to_be_is_not_kept(harness: Harness) -> None:
    harness.settings = msgspec.structs.replace(harness.settings, max_media_bytes=3)
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    await harness.until(lambda: len(harness.emitted) == 1)
    [note] = harness.emitted
    assert isinstance(note, CaptureNote)
    assert note.note == Note.TOO_LARGE
    assert harness.store.next_download_at() is None
    assert list(harness.spool.folder.iterdir()) == []


@pytest.mark.parametrize("status", [404, 410])
async def test_gone_is_told_at_once(harness: Harness, status: int) -> None:
    harness.engine.failures = [EngineError(f"download failed with status code {status}")]
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    await harness.until(lambda: bool(harness.emitted))
    assert isinstance(harness.emitted[0], CaptureNote)
    assert harness.emitted[0].note == "gone"
    assert harness.store.next_download_at() is None


async def test_failures_are_tried_again_with_growing_pauses_and_never_for_ever(harness: Harness) -> None:
    harness.engine.failures = [EngineTimeoutError("late"), *[EngineError("status code 503")] * MAX_ATTEMPTS]
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        await harness.until(lambda attempt=attempt: harness.engine.calls == attempt and not harness.engine.running)
        await harness.pass_time(pause_after(attempt))
    await harness.until(lambda: bool(harness.emitted))
    [note] = harness.emitted
    assert isinstance(note, CaptureNote)
    assert note.note == "gave_up"
    assert harness.engine.calls == MAX_ATTEMPTS


async def test_a_clock_that_is_set_back_delays_nothing(harness: Harness) -> None:
    harness.engine.failures = [EngineError("status code 503")]
    harness.clock.now += 7200
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.engine.calls == 1 and not harness.engine.running)
    await harness.pass_time(-7200)
    await harness.until(lambda: bool(harness.emitted))
    assert harness.engine.calls == 2


async def test_full_disk_is_told_once_and_costs_no_attempt(harness: Harness) -> None:
    harness.engine.failures = [OSError(errno.ENOSPC, "full")] * 3
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    for attempt in (1, 2, 3):
        await harness.until(lambda attempt=attempt: harness.engine.calls == attempt and not harness.engine.running)
        assert harness.store.due_downloads(float("inf"), 1)[0].attempts == 0
        await harness.pass_time(60)
    await harness.until(lambda: Spooled(item="i1") in harness.emitted)
    notes = [body for body in harness.emitted if isinstance(body, CaptureNote)]
    assert [note.note for note in notes] == ["disk_full"]


def test_pauses_and_limits() -> None:
    assert pause_after(1) == FIRST_PAUSE_S
    assert pause_after(50) == LONGEST_PAUSE_S
    assert time_limit(0) == 60.0
    assert time_limit(64 * 1024 * 1024) == 60.0 + 1024


def held_fetch(name: str) -> Fetch:
    found = fetch(name)
    media = msgspec.structs.replace(found.media, sha256=b"h" * 32)
    return Fetch(item=msgspec.structs.replace(found.item, category=HELD), media=media)


async def test_held_media_is_kept_quietly_and_used_when_its_message_is_deleted(harness: Harness) -> None:
    held = held_fetch("held")
    harness.store.add_download(held, 3)
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.store.next_download_at() is None)
    assert harness.emitted == []
    assert list(harness.spool.folder.glob("*.json")) == []
    deleted = Fetch(item=fetch("deleted").item, media=held.media)
    harness.engine.failures = [EngineError("status code 404")]
    harness.store.add_download(deleted, 0)
    harness.downloads.wake()
    await harness.until(lambda: harness.emitted == [Spooled(item="deleted")])
    assert (harness.spool.folder / "deleted.data").read_bytes() == b"data"
    assert harness.engine.calls == 1


async def test_held_media_that_cannot_be_had_is_given_up_quietly(harness: Harness) -> None:
    harness.engine.failures = [EngineError("status code 404")]
    harness.store.add_download(held_fetch("held"), 3)
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.store.next_download_at() is None)
    assert harness.emitted == []


async def test_with_little_free_disk_nothing_is_fetched_and_nothing_forgotten(harness: Harness) -> None:
    harness.settings = CaptureSettings(min_free_bytes=1 << 60)
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    await harness.until(lambda: len(harness.emitted) == 1)
    [note] = harness.emitted
    assert isinstance(note, CaptureNote)
    assert (note.note, harness.engine.calls) == ("disk_full", 0)
    harness.settings = CaptureSettings(min_free_bytes=0)
    await harness.pass_time(FULL_PAUSE_S + 1)
    await harness.until(lambda: harness.emitted[1:] == [Spooled(item="i1")])


async def test_what_is_captured_is_copied_if_that_is_wanted(harness: Harness) -> None:
    harness.settings = CaptureSettings(copy_to_self=True)
    harness.store.add_download(fetch("i1"), 0)
    harness.downloads.connected(now=True)
    await harness.until(lambda: harness.emitted == [Spooled(item="i1")])
    assert harness.copied == [("i1", b"data")]
