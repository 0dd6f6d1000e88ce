from __future__ import annotations

import tempfile
from typing import Any, BinaryIO

import pytest

from appliance.media.compression import video
from appliance.media.compression.outcome import Result, Treatment
from appliance.media.compression.probe import Probed
from appliance.media.compression.settings import VideoProfile
from appliance.media.compression.video import Ffmpeg, VideoCompressor, is_small, probe, time_limit

PROFILE = VideoProfile(short_edge=180, crf=30)


async def squeezed(data: bytes, mimetype: str = "video/mp4", ffmpeg: Ffmpeg | None = None) -> tuple[Result, bytes]:
    source: Any
    target: Any
    with tempfile.TemporaryFile(buffering=0) as source, tempfile.TemporaryFile(buffering=0) as target:
        source.write(data)
        result = await VideoCompressor(ffmpeg or Ffmpeg()).squeeze(source, target, len(data), mimetype, PROFILE)
        target.seek(0)
        return result, target.read()


async def probed(ffmpeg: str, data: bytes) -> Probed | None:
    file: BinaryIO
    with tempfile.TemporaryFile(buffering=0) as file:  # type: ignore[assignment]
        file.write(data)
        return await probe(ffmpeg, file, "mov")


@pytest.mark.slow
async def test_a_video_becomes_h264_of_the_wanted_height_and_forgets_where_it_was_taken(
    ffmpeg: str, clip: bytes
) -> None:
    data = clip
    assert b"loci" in data  # the box of the place
    result, smaller = await squeezed(data)
    assert result == Result(treatment=Treatment.COMPRESSED, mimetype="video/mp4")
    assert len(smaller) < len(data) / 4
    found = await probed(ffmpeg, smaller)
    assert found is not None
    assert (found.codec, found.width, found.height, found.audio) == ("h264", 180, 320, "aac")
    assert found.duration_s == pytest.approx(2.0, abs=0.2)
    assert b"loci" not in smaller
    assert smaller.index(b"moov") < smaller.index(b"mdat")  # it can be played while it is fetched


@pytest.mark.slow
async def test_broken_and_hostile_videos(ffmpeg: str, clip: bytes) -> None:
    data = clip
    moved = data.index(b"mdat")
    playlist = b"\0\0\0\x18ftypisom\0\0\2\0isommp42#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    for name, broken in {
        "nothing": b"",
        "only a signature": data[:24],
        "cut off": data[: len(data) // 2],
        "noise instead of pictures": data[: moved + 4] + bytes(200_000) + data[moved + 200_004 :],
        "a playlist": playlist,
        "zeros": data[:24] + bytes(300_000),
    }.items():
        result, _ = await squeezed(broken)
        assert result.treatment is Treatment.UNREADABLE, name


async def test_without_a_program_the_original_stays() -> None:
    result, _ = await squeezed(b"any", ffmpeg=Ffmpeg(["/nonexistent/ffmpeg", "/bin/true"]))
    assert result.treatment is Treatment.NO_PROGRAM


async def test_formats_that_nobody_reads_are_left_alone() -> None:
    assert (await squeezed(b"any", "video/x-flv"))[0].treatment is Treatment.ORIGINAL


@pytest.mark.slow
async def test_one_that_takes_too_long_is_given_up(ffmpeg: str, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "time_limit", lambda _: 0.05)
    result, _ = await squeezed(clip)
    assert result.treatment is Treatment.TOO_DEMANDING


@pytest.mark.slow
async def test_one_that_wants_too_much_memory_is_given_up(
    ffmpeg: str, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Probed(codec="h264", width=360, height=640, duration_s=2.0, audio="aac")

    async def known(*_: object) -> Probed:
        return found

    monkeypatch.setattr(video, "probe", known)
    monkeypatch.setattr(video, "DATA_BYTES", 12 << 20)
    result, _ = await squeezed(clip)
    assert result.treatment in (Treatment.TOO_DEMANDING, Treatment.UNREADABLE)


def test_what_is_small_already() -> None:
    found = Probed(codec="h264", width=480, height=848, duration_s=30.0, audio="aac")
    profile = VideoProfile(short_edge=720, crf=28)
    assert is_small(found, 1_500_000, profile)
    assert not is_small(found, 6_000_000, profile)
    assert not is_small(found, 1_500_000, VideoProfile(short_edge=320, crf=28))
    assert not is_small(Probed(codec="mpeg4", width=9, height=9, duration_s=1.0, audio=None), 1, profile)


def test_the_time_limit_is_bounded() -> None:
    assert time_limit(1.0) < time_limit(20.0) < time_limit(1e6) == time_limit(1e9)
