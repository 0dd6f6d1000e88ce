"""Made-up media: repeatable, unlike each other, and what they claim to be."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from appliance.model import MediaKind
from appliance.staging.media_content import DEFAULT_MIMETYPE, DEFAULT_SIZE, dimensions, make, seed_name
from appliance.staging.media_photo import COARSE, LARGE
from appliance.staging.media_photo import look as photo_look
from appliance.staging.media_video import film_for
from appliance.staging.media_video import look as film_look

KINDS = sorted(DEFAULT_SIZE)
SIGNATURES = {
    MediaKind.IMAGE: (0, b"\xff\xd8\xff"),
    MediaKind.STICKER: (8, b"WEBP"),
    MediaKind.VIDEO: (4, b"ftyp"),
    MediaKind.VIDEO_NOTE: (4, b"ftyp"),
    MediaKind.VOICE: (0, b"OggS"),
    MediaKind.AUDIO: (0, b"ID3"),
    MediaKind.DOCUMENT: (0, b"%PDF"),
}
SLACK = 8
"""Bytes that some formats cannot fill up."""
SMALLEST_FILM = 8_000


@given(st.sampled_from(KINDS), st.integers(0, 2**62), st.integers(2_000, 200_000))
@example(MediaKind.VOICE, 0, 65_270)  # a page of Ogg is full
def test_content_is_a_function_of_kind_seed_and_size(kind: MediaKind, seed: int, size: int) -> None:
    content = make(kind, DEFAULT_MIMETYPE[kind], seed, size)
    assert len(content) >= size - SLACK
    assert len(content) <= max(size, SMALLEST_FILM) + (size if size >= LARGE else 0)
    assert content == make(kind, DEFAULT_MIMETYPE[kind], seed, size)
    assert content != make(kind, DEFAULT_MIMETYPE[kind], seed + 1, size)
    at, signature = SIGNATURES[kind]
    assert content[at : at + len(signature)] == signature


@pytest.mark.parametrize("kind", KINDS)
def test_no_size_means_the_usual_one(kind: MediaKind) -> None:
    assert abs(len(make(kind, DEFAULT_MIMETYPE[kind], 1, 0)) - DEFAULT_SIZE[kind]) <= SLACK


@given(st.integers(0, 2**62), st.integers(2_000, LARGE - 1))
def test_a_jpeg_is_a_chain_of_whole_segments(seed: int, size: int) -> None:
    content = make(MediaKind.IMAGE, "image/jpeg", seed, size)
    position, markers = 2, []
    while (marker := content[position + 1]) != 0xDA:
        assert content[position] == 0xFF
        markers.append(marker)
        position += 2 + struct.unpack(">H", content[position + 2 : position + 4])[0]
    assert markers[:5] == [0xE0, 0xDB, 0xC0, 0xC4, 0xC4]
    assert set(markers[5:]) <= {0xFE}
    assert content.endswith(b"\xff\xd9")


@given(st.integers(0, 2**62), st.integers(2_000, 100_000))
def test_a_png_is_a_chain_of_chunks_with_their_checksums(seed: int, size: int) -> None:
    content = make(MediaKind.IMAGE, "image/png", seed, size)
    assert len(content) == size
    position, names = 8, []
    while position < len(content):
        (length,) = struct.unpack(">I", content[position : position + 4])
        body = content[position + 4 : position + 8 + length]
        assert struct.unpack(">I", content[position + 8 + length : position + 12 + length])[0] == zlib.crc32(body)
        names.append(body[:4])
        position += 12 + length
    assert names == [b"IHDR", b"IDAT", b"fiLl", b"IEND"]


def test_text_has_no_media() -> None:
    with pytest.raises(KeyError):
        make(MediaKind.TEXT, "", 1, 0)


def test_a_photo_shows_what_it_says() -> None:
    content = make(MediaKind.IMAGE, "image/jpeg", 5, 250_000)
    assert len(content) == 250_000
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == dimensions(MediaKind.IMAGE, "image/jpeg", 250_000)
        seen = picture.resize(COARSE, Image.Resampling.BOX).tobytes()
    wanted = photo_look(seed_name(MediaKind.IMAGE, 5))
    assert sum(abs(a - b) for a, b in zip(seen, wanted, strict=True)) / len(wanted) < 30


@pytest.mark.slow
@pytest.mark.parametrize("size", [2_000, 120_000, 700_000, 2_000_000])
def test_a_film_plays_without_complaint_and_shows_its_squares(ffmpeg: str, tmp_path: Path, size: int) -> None:
    content = make(MediaKind.VIDEO, "video/mp4", 9, size)
    film = film_for(size)
    frames = played(ffmpeg, tmp_path, content, "-vf", f"scale={film.width // 16}:{film.height // 16}:flags=area")
    squares = film.width * film.height // 256
    assert len(frames) == 75 * squares
    first = film_look(seed_name(MediaKind.VIDEO, 9), film)[0]
    assert (
        sum(abs(a - b) for a, b in zip(frames[:squares], first, strict=True)) / squares < 12
    )  # ffmpeg stretches the range of video to that of grey
    assert dimensions(MediaKind.VIDEO, "video/mp4", size) == (film.width, film.height)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MediaKind.VOICE, MediaKind.AUDIO])
@pytest.mark.parametrize("size", [2_001, 30_000, 200_000])
def test_recordings_play_without_complaint(ffmpeg: str, tmp_path: Path, kind: MediaKind, size: int) -> None:
    content = make(kind, DEFAULT_MIMETYPE[kind], 9, size)
    sound = played(ffmpeg, tmp_path, content, "-f", "s16le")
    assert sound
    assert not any(sound)


def played(ffmpeg: str, folder: Path, content: bytes, *how: str) -> bytes:
    path = folder / "file"
    path.write_bytes(content)
    shown = ["-f", "rawvideo", "-pix_fmt", "gray"] if "-vf" in how else []
    ended = subprocess.run(
        [ffmpeg, "-v", "error", "-xerror", "-err_detect", "explode", "-i", str(path), *shown, *how, "-"],
        capture_output=True,
        check=True,
    )
    assert ended.stderr == b""
    return ended.stdout


def test_a_pdf_has_its_table_where_it_says() -> None:
    content = make(MediaKind.DOCUMENT, "application/pdf", 3, 20_000)
    begin = int(content.rsplit(b"startxref\n", 1)[1].split()[0])
    rows = content[begin:].splitlines()
    assert rows[0] == b"xref"
    for number, row in enumerate(rows[3:7], start=1):
        assert content[int(row.split()[0]) :].startswith(b"%d 0 obj" % number)
