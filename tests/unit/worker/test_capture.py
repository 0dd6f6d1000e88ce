"""The consumer of the inbox: done again after a kill at any step, it ends in the same state."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.protocol import CaptureNote, CaptureSettings, EventBody, Spooled, SpoolItem
from appliance.worker import capture as module
from appliance.worker.capture import Capture
from appliance.worker.engine.events import RawKind
from appliance.worker.engine.protos import e2e_pb, neonize_pb
from appliance.worker.held import Held
from appliance.worker.spool import Spool
from appliance.worker.store import CaptureStore, Recorder
from tests.unit.worker.engine.test_decode import event, image, info, jid

STATUS = jid("status", "broadcast")


class Killed(BaseException):
    """Stands for the end of the process at this step."""


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = CaptureStore(folder)
        self.store.open(1)
        self.spool = Spool(folder)
        self.spool.prepare()
        self.recorder = Recorder(folder)
        self.settings = CaptureSettings()
        self.copied: list[tuple[str, bytes]] = []
        self.capture = self.new_capture()

    def new_capture(self) -> Capture:
        return Capture(
            session="anna",
            store=self.store,
            spool=self.spool,
            held=Held(self.spool.folder),
            copy=lambda item, data: self.copied.append((item.item, data.read_bytes())),
            settings=lambda: self.settings,
            emit=lambda body: self.store.append_event(body) and None,
            on_downloads=lambda: None,
            write_log=lambda *_: None,
        )

    def record(self, raw: bytes, kind: RawKind = RawKind.MESSAGE, hint: str = "") -> None:
        self.recorder.record(kind, "M1", hint, raw)
        self.capture.wake()

    async def settle(self) -> list[EventBody]:
        """Run until the inbox is empty; all events so far."""
        task = asyncio.create_task(self.capture.run())
        try:
            async with asyncio.timeout(10):
                while self.store.inbox_length() and not task.done():  # noqa: ASYNC110 - the inbox is a table
                    await asyncio.sleep(0)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return [found.body for found in self.store.events_after(0, 1000)]

    def items(self) -> set[str]:
        return {path.stem for path in self.spool.folder.glob("*.json")}


@pytest_asyncio.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    harness.store.close()


def status_text(text: str = "hello") -> bytes:
    return event(e2e_pb.Message(conversation=text), chat=STATUS, group=True)


async def test_text_status_is_spooled_and_told_once(harness: Harness) -> None:
    harness.record(status_text())
    harness.record(status_text())  # a relayed copy
    [spooled] = await harness.settle()
    assert isinstance(spooled, Spooled)
    assert harness.items() == {spooled.item}


async def test_same_id_with_other_content_is_another_message(harness: Harness) -> None:
    keys = e2e_pb.SenderKeyDistributionMessage(groupID="status@broadcast")
    harness.record(event(e2e_pb.Message(senderKeyDistributionMessage=keys), chat=STATUS, group=True))
    harness.record(status_text())
    assert len(await harness.settle()) == 1


async def test_picture_is_queued_in_the_transaction_that_judges_it(harness: Harness) -> None:
    harness.record(event(e2e_pb.Message(imageMessage=image()), chat=STATUS, group=True))
    assert await harness.settle() == []
    assert len(harness.store.due_downloads(float("inf"), 10)) == 1
    assert harness.store.inbox_length() == 0


async def test_deleted_text_comes_back(harness: Harness) -> None:
    harness.record(event(e2e_pb.Message(conversation="secret")))
    key = neonize_pb.Message().Message.protocolMessage.key.__class__(ID="M1")
    revoke = e2e_pb.ProtocolMessage(key=key, type=e2e_pb.ProtocolMessage.REVOKE)
    harness.record(event(e2e_pb.Message(protocolMessage=revoke)))
    [spooled] = await harness.settle()
    assert isinstance(spooled, Spooled)
    assert (harness.spool.folder / f"{spooled.item}.data").read_text() == "secret"


@pytest.mark.parametrize("step", ["put_text", "is_new", "append_event", "forget_recorded"])
async def test_killed_at_any_step_ends_the_same(harness: Harness, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    harness.record(status_text())
    owner: type = Spool if step == "put_text" else CaptureStore

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        with pytest.raises(Killed):
            await harness.settle()
    harness.store.close()
    harness.store.open(1)
    harness.capture = harness.new_capture()
    [spooled] = await harness.settle()
    assert isinstance(spooled, Spooled)
    assert harness.items() == {spooled.item}


async def test_full_disk_is_told_and_waited_for(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    failures = [OSError(errno.ENOSPC, "full")] * 3
    original = Spool.put_text

    def sometimes(self: Spool, item: SpoolItem, text: str) -> None:
        if failures:
            raise failures.pop()
        original(self, item, text)

    monkeypatch.setattr(Spool, "put_text", sometimes)
    harness.record(status_text())
    note, spooled = await harness.settle()
    assert isinstance(note, CaptureNote)
    assert note.note == "disk_full"
    assert isinstance(spooled, Spooled)


async def test_other_errors_of_the_database_end_the_consumer(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.DatabaseError("malformed")

    harness.record(status_text())
    monkeypatch.setattr(CaptureStore, "forget_recorded", broken)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        await harness.settle()


async def test_what_cannot_be_read_is_dropped(harness: Harness) -> None:
    harness.record(b"\xff\xff")
    harness.record(status_text())
    assert len(await harness.settle()) == 1


async def test_placeholder_is_told_once(harness: Harness) -> None:
    raw = neonize_pb.UndecryptableMessage(Info=info(), IsUnavailable=True, DecryptFailMode=1).SerializeToString()
    for _ in range(2):
        harness.record(bytes(raw), RawKind.UNDECRYPTABLE, "view_once")
    [note] = await harness.settle()
    assert isinstance(note, CaptureNote)
    assert (note.note, note.message_id) == ("view_once_placeholder", "M1")


async def test_what_is_too_old_goes_also_when_nothing_comes(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRUNE_INTERVAL_S", 0.01)
    looked = asyncio.Event()
    looks = []

    def prune(_settings: CaptureSettings) -> int:
        looks.append(1)
        if len(looks) > 2:
            looked.set()
        return 0

    monkeypatch.setattr(harness.store, "prune", prune)
    task = asyncio.create_task(harness.capture.run())
    async with asyncio.timeout(10):
        await looked.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
