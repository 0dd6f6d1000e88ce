from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from appliance.media.compression import picture_process
from appliance.media.compression.compressor import MIN_SIZE, Compressor
from appliance.media.compression.outcome import Result, Treatment
from appliance.media.compression.settings import CompressionSettings, Profile
from appliance.media.compression.video import Ffmpeg
from appliance.media.keys import sniff
from appliance.model import MediaKind
from appliance.processes import children_of
from tests.unit.media.compression.conftest import photo, png_of

pytestmark = pytest.mark.slow
PHOTO = photo(1200, 900)


@pytest.fixture
async def compressor(tmp_path: Path) -> AsyncIterator[Compressor]:
    made = Compressor(CompressionSettings(), tmp_path / "work", Ffmpeg([]))
    yield made
    await made.close()


async def compress(
    compressor: Compressor, folder: Path, data: bytes, kind: MediaKind = MediaKind.IMAGE, waiting: int = 0
) -> Result:
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest
    path.write_bytes(data)
    with path.open("rb") as source:
        source.read(16)
        return await compressor.compress(
            source,
            kind=kind,
            mimetype=sniff(data[:16]) or "",
            size=len(data),
            sha256=digest,
            waiting_bytes=waiting,
        )


async def test_a_photo(compressor: Compressor, tmp_path: Path) -> None:
    result = await compress(compressor, tmp_path, PHOTO)
    assert result.treatment is Treatment.COMPRESSED
    assert result.file is not None
    with result.file as file:
        stored = file.read()
    assert len(stored) == result.size < len(PHOTO) * 0.9
    assert hashlib.sha256(stored).hexdigest() == result.sha256
    assert list((tmp_path / "work").iterdir()) == []  # nothing is left behind, whatever ends the process


async def test_the_same_for_many_sessions_is_done_once(compressor: Compressor, tmp_path: Path) -> None:
    results = await asyncio.gather(*(compress(compressor, tmp_path, PHOTO) for _ in range(8)))
    assert len({result.sha256 for result in results}) == 1
    read = []
    for result in results:
        assert result.file is not None
        with result.file as file:
            read.append(file.read())
    assert len(set(read)) == 1


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (PHOTO, MediaKind.DOCUMENT, Treatment.ORIGINAL),
        (PHOTO, MediaKind.STICKER, Treatment.ORIGINAL),
        (PHOTO, MediaKind.AUDIO, Treatment.ORIGINAL),
        (photo(300, 200)[:MIN_SIZE], MediaKind.IMAGE, Treatment.ORIGINAL),
        (photo(1900, 1400, quality=50), MediaKind.IMAGE, Treatment.LITTLE_GAIN),
        (PHOTO[:150_000], MediaKind.IMAGE, Treatment.UNREADABLE),
        (png_of(50_000, 50_000) + bytes(MIN_SIZE), MediaKind.IMAGE, Treatment.TOO_DEMANDING),
        (PHOTO, MediaKind.VIDEO, Treatment.ORIGINAL),
        (b"\0\0\0\x18ftypisom" + bytes(MIN_SIZE), MediaKind.VIDEO, Treatment.NO_PROGRAM),
    ],
)
async def test_what_stays_as_it_came(
    compressor: Compressor, tmp_path: Path, data: bytes, kind: MediaKind, reason: Treatment
) -> None:
    result = await compress(compressor, tmp_path, data, kind)
    assert (result.treatment, result.file) == (reason, None)


async def test_the_profile_original_touches_nothing(tmp_path: Path) -> None:
    made = Compressor(CompressionSettings(profile=Profile.ORIGINAL), tmp_path / "work", Ffmpeg([]))
    assert (await compress(made, tmp_path, PHOTO)).treatment is Treatment.ORIGINAL
    made.apply_settings(CompressionSettings(profile=Profile.SMALL))
    small = await compress(made, tmp_path, PHOTO)
    made.apply_settings(CompressionSettings(profile=Profile.BALANCED))
    balanced = await compress(made, tmp_path, PHOTO)
    assert 0 < small.size < balanced.size
    for result in (small, balanced):
        assert result.file is not None
        result.file.close()
    await made.close()


async def test_videos_do_not_wait_when_much_is_waiting(compressor: Compressor, tmp_path: Path) -> None:
    data = b"\0\0\0\x18ftypisom" + bytes(MIN_SIZE)
    waiting = CompressionSettings().hurry_bytes + 1
    assert (await compress(compressor, tmp_path, data, MediaKind.VIDEO, waiting)).treatment is Treatment.HURRIED


async def test_a_process_that_dies_is_replaced(compressor: Compressor, tmp_path: Path) -> None:
    first = await compress(compressor, tmp_path, PHOTO)
    (pid,) = [pid for pid in children_of(os.getpid()) if b"picture_child" in _command(pid)]
    os.kill(pid, signal.SIGKILL)
    second = await compress(compressor, tmp_path, photo(1200, 900, seed=2))
    assert second.treatment is Treatment.COMPRESSED
    for result in (first, second):
        assert result.file is not None
        result.file.close()


async def test_one_that_hangs_is_given_up(
    compressor: Compressor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_process, "TIME_S", 0.01)
    assert (await compress(compressor, tmp_path, PHOTO)).treatment is Treatment.TOO_DEMANDING


async def test_a_folder_that_cannot_be_written_costs_nothing_but_space(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    made = Compressor(CompressionSettings(), blocked / "work", Ffmpeg([]))
    assert (await compress(made, tmp_path, PHOTO)).treatment is Treatment.TOO_DEMANDING
    await made.close()


def test_hurrying_begins_before_anything_is_refused() -> None:
    assert msgspec.to_builtins(CompressionSettings())["hurry_bytes"] < 1 << 30


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
