"""What attackers send, from the spool to the store: everything is kept as it came, nothing crashes, nothing escapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.media.compression.compressor import Compressor
from appliance.media.compression.settings import CompressionSettings
from appliance.media.keys import KEY_PATTERN
from appliance.model import MediaKind
from tests.unit.media.compression.conftest import photo, png_of
from tests.unit.media.test_intake import Rig, rig  # noqa: F401 - a fixture

FILLING = bytes(150_000)
"""Enough that compression is tried."""
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isommp42"
FILES: dict[str, tuple[bytes, MediaKind]] = {
    "nothing": (b"", MediaKind.IMAGE),
    "nothing as a video": (b"", MediaKind.VIDEO),
    "a bomb of pixels": (png_of(60_000, 60_000) + FILLING, MediaKind.IMAGE),
    "a picture that is cut off": (photo(1600, 1200)[:150_000], MediaKind.IMAGE),
    "a picture called a video": (photo(900, 700), MediaKind.VIDEO),
    "a video called a picture": (MP4 + FILLING, MediaKind.IMAGE),
    "a video without end": (MP4 + b"\0\0\0\1mdat\xff\xff\xff\xff\xff\xff\xff\xff" + FILLING, MediaKind.VIDEO),
    "boxes within boxes": (MP4 + b"\0\0\0\x08moov" * 20_000, MediaKind.VIDEO),
    "a box of no size": (MP4 + b"\0\0\0\0moov" + FILLING, MediaKind.VIDEO_NOTE),
    "a playlist": (MP4 + b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n" + FILLING, MediaKind.VIDEO),
    "a script": (b"#!/bin/sh\nreboot\n" + FILLING, MediaKind.DOCUMENT),
    "a page": (b"<html><script>alert(1)</script>" + FILLING, MediaKind.IMAGE),
    "matroska without content": (b"\x1aE\xdf\xa3" + FILLING, MediaKind.VIDEO),
    "a webp that lies about its size": (b"RIFF\xff\xff\xff\xffWEBPVP8 " + FILLING, MediaKind.IMAGE),
}
NAMES: dict[str, dict[str, Any]] = {
    "up and away": {"file_name": "../../../../etc/cron.d/x", "mimetype": "../../../etc/passwd"},
    "absolute": {"file_name": "/etc/passwd", "mimetype": "/bin/sh"},
    "control characters": {
        "file_name": "a\0b\r\n\x1b[2J",
        "mimetype": "image/jpeg\r\nSet-Cookie: x",
        "caption": "\x1b]0;x\7",
    },
    "very long": {"file_name": "x" * 100_000, "caption": "y" * 100_000, "mimetype": "z" * 10_000},
    "other scripts": {"file_name": "\u202egpj.exe", "caption": "\U000e0001\ufeff", "mimetype": "ｉｍａｇｅ/ｊｐｅｇ"},
    "wrong sizes of the time": {"sent_at": 1e18, "captured_at": 1_790_000_000.0},
    "hostile ids": {"message_id": "'; DROP TABLE media; --", "chat": "../x@g.us", "sender": "%s%n@lid"},
}


@pytest.mark.slow
@pytest.mark.parametrize(("data", "kind"), FILES.values(), ids=FILES)
async def test_files_are_stored_as_they_came(
    ffmpeg: str,
    rig: Rig,  # noqa: F811
    tmp_path: Path,
    data: bytes,
    kind: MediaKind,
) -> None:
    rig.compressor = Compressor(CompressionSettings(), tmp_path / "compressing")
    rig.intake = rig.intake_of(rig.store)
    folder = rig.spool("a", data, kind=kind)
    await rig.intake.drain("one")  # in a hurry
    rig.spool("b", data, kind=kind, of="two")
    for lane in rig.intake._lanes:
        await rig.intake._take_folder(lane, "two", "store1")
    await rig.compressor.close()
    views = await rig.index.search()
    assert {view.session for view in views} == {"one", "two"}
    for view in views:
        assert KEY_PATTERN.fullmatch(view.key)
        assert await rig.read(view.key) == data
        assert view.treatment in ("original", "unreadable", "too_demanding", "hurried", "little_gain")
    assert list(folder.iterdir()) == []
    assert await rig.index.poison() == []


@pytest.mark.parametrize("changes", NAMES.values(), ids=NAMES)
async def test_names_lead_nowhere(rig: Rig, changes: dict[str, Any]) -> None:  # noqa: F811
    rig.spool("a", **changes)
    await rig.intake.drain("one")
    [view] = await rig.index.search()
    assert KEY_PATTERN.fullmatch(view.key)
    assert view.key.endswith(".jpg"), "by its content"
    stored = [path for path in (rig.store._root).rglob("*") if path.is_file()]
    assert [path.relative_to(rig.store._root).as_posix() for path in stored] == [view.key]
    assert (await rig.index.search(text="x" * 100)) == [] or changes.get("file_name", "").startswith("x")
