"""Made-up media: repeatable, unlike each other, and what they claim to be."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import MediaKind
from appliance.staging.media_content import DEFAULT_MIMETYPE, DEFAULT_SIZE, make

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


@given(st.sampled_from(KINDS), st.integers(0, 2**62), st.integers(2_000, 200_000))
def test_content_is_a_function_of_kind_seed_and_size(kind: MediaKind, seed: int, size: int) -> None:
    content = make(kind, DEFAULT_MIMETYPE[kind], seed, size)
    assert abs(len(content) - size) <= 1
    assert content == make(kind, DEFAULT_MIMETYPE[kind], seed, size)
    assert content != make(kind, DEFAULT_MIMETYPE[kind], seed + 1, size)
    at, signature = SIGNATURES[kind]
    assert content[at : at + len(signature)] == signature


@pytest.mark.parametrize("kind", KINDS)
def test_no_size_means_the_usual_one(kind: MediaKind) -> None:
    assert len(make(kind, DEFAULT_MIMETYPE[kind], 1, 0)) == DEFAULT_SIZE[kind]


@given(st.integers(0, 2**62), st.integers(2_000, 300_000))
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
