"""Copies to the own chat: said what, from whom and when; tried a few times; never in the way of storing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from appliance.model import MediaKind
from appliance.protocol import SpoolItem
from appliance.worker import copies as module
from appliance.worker.copies import MAX_BYTES, MAX_WAITING, TRIES, Copies, caption
from appliance.worker.engine.calls import EngineTimeoutError
from appliance.worker.engine.outgoing import OutgoingFile
from tests.unit.worker.test_store import fetch

ITEM = msgspec.structs.replace(
    fetch("i1").item, sender="5@lid", sender_alt="221771234512@s.whatsapp.net", size=4, caption="hello"
)


class FakeChat:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.failures = 0
        self.changed = asyncio.Event()

    async def send_text(self, to: str, text: str) -> str:
        return self._send(to, text, b"")

    async def send_file(self, to: str, file: OutgoingFile) -> str:
        return self._send(to, file.caption, file.path.read_bytes())

    def _send(self, to: str, text: str, data: bytes) -> str:
        assert to == "self"
        self.changed.set()
        if self.failures:
            self.failures -= 1
            raise EngineTimeoutError("no answer")
        self.sent.append((text.splitlines()[0] if text else "", text, data))
        return "M"


class Harness:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chat = FakeChat()
        self.log: list[str] = []
        self.copies = Copies(folder, self.chat, self._write)

    def _write(self, _level: str, text: str) -> None:
        self.log.append(text)
        self.chat.changed.set()

    def add(self, item: SpoolItem = ITEM, data: bytes = b"data") -> None:
        path = self.folder / f"{item.item}.data"
        path.write_bytes(data)
        self.copies.add(item, path)
        path.unlink()  # the daemon is quicker
        self.copies.wake()

    async def until_empty(self) -> None:
        async with asyncio.timeout(10):
            while list(self.folder.glob("*.copy*")):
                self.chat.changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.chat.changed.wait(), 0.02)


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    harness = Harness(tmp_path)
    task = asyncio.create_task(harness.copies.run())
    yield harness
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def test_the_caption_says_what_from_whom_and_when() -> None:
    lines = caption(msgspec.structs.replace(ITEM, category="deleted-messages", chat="7@g.us")).splitlines()
    assert lines[:3] == ["Deleted message (image)", "From +221771234512", "In group 7@g.us"]
    assert lines[3].startswith("Sent 1970-01-01") or lines[3].startswith("Sent 1969-12-31")
    assert lines[4] == "hello"
    assert "From 5@lid" in caption(msgspec.structs.replace(ITEM, sender_alt=""))


async def test_a_picture_is_sent_with_its_caption_while_connected(harness: Harness) -> None:
    harness.add()
    await asyncio.sleep(0)
    assert harness.chat.sent == []
    harness.copies.connected(now=True)
    await harness.until_empty()
    assert [(text.splitlines()[1], data) for _, text, data in harness.chat.sent] == [("From +221771234512", b"data")]


async def test_texts_recordings_and_what_is_too_large(harness: Harness) -> None:
    harness.copies.connected(now=True)
    harness.add(msgspec.structs.replace(ITEM, item="t", kind=MediaKind.TEXT), b"salut")
    await harness.until_empty()
    harness.add(msgspec.structs.replace(ITEM, item="v", kind=MediaKind.VOICE))
    await harness.until_empty()
    harness.copies.connected(now=False)
    harness.add(msgspec.structs.replace(ITEM, item="l", size=MAX_BYTES + 1))
    assert list(harness.folder.glob("*.copy")) == [], "its bytes do not wait: they would not be sent"
    harness.copies.connected(now=True)
    await harness.until_empty()
    text, voice, told, large = harness.chat.sent
    assert text[1].endswith("salut")
    assert (voice[1], voice[2]) == ("", b"data")
    assert told[1].startswith("Status (voice)")
    assert large[1].endswith("too large to send)")


async def test_failures_are_tried_again_and_not_for_ever(harness: Harness) -> None:
    harness.chat.failures = 1
    harness.add()
    harness.copies.connected(now=True)
    await harness.until_empty()
    assert len(harness.chat.sent) == 1
    harness.chat.failures = TRIES
    harness.add()
    await harness.until_empty()
    assert len(harness.chat.sent) == 1
    assert f"({TRIES}/{TRIES})" in harness.log[-1]


async def test_what_a_lost_connection_left_is_sent_on_the_next_one(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.05)
    for number in range(3):
        harness.add(msgspec.structs.replace(ITEM, item=f"i{number}"))
    harness.copies.connected(now=True)
    async with asyncio.timeout(10):
        await harness.chat.changed.wait()
    harness.copies.connected(now=False)
    await asyncio.sleep(0.2)  # the absence of a copy is what is looked for
    assert len(harness.chat.sent) == 1
    harness.copies.connected(now=True)
    await harness.until_empty()
    assert len(harness.chat.sent) == 3


async def test_a_flood_is_not_sent_and_nothing_raises(harness: Harness) -> None:
    for number in range(MAX_WAITING + 5):
        harness.add(msgspec.structs.replace(ITEM, item=f"i{number}"))
    assert len(list(harness.folder.glob("*.copy"))) == MAX_WAITING
    harness.copies.add(ITEM, harness.folder / "missing")


async def test_a_damaged_note_is_dropped(harness: Harness) -> None:
    (harness.folder / "x.copy-of").write_text("{")
    harness.copies.connected(now=True)
    harness.copies.wake()
    await harness.until_empty()
    assert harness.chat.sent == []
