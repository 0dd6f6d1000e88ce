"""The pictures, films and recordings that contacts send: made from a seed, of any size, each unlike every other.

Content is a function of (kind, seed, size), so the network remembers three numbers instead of gigabytes and can serve
the same bytes again after a restart. Pictures really decode; the other kinds are sniffed as what they are.
"""

from __future__ import annotations

import random
import struct
import zlib
from typing import Final

from appliance.model import MediaKind

DEFAULT_SIZE: Final = {
    MediaKind.IMAGE: 40_000,
    MediaKind.VIDEO: 120_000,
    MediaKind.VIDEO_NOTE: 60_000,
    MediaKind.AUDIO: 30_000,
    MediaKind.VOICE: 12_000,
    MediaKind.DOCUMENT: 20_000,
    MediaKind.STICKER: 8_000,
}
"""Bytes; a tenth of what phones send, so that sixty sessions can be rehearsed on two cores."""
DEFAULT_MIMETYPE: Final = {
    MediaKind.IMAGE: "image/jpeg",
    MediaKind.VIDEO: "video/mp4",
    MediaKind.VIDEO_NOTE: "video/mp4",
    MediaKind.AUDIO: "audio/mpeg",
    MediaKind.VOICE: "audio/ogg; codecs=opus",
    MediaKind.DOCUMENT: "application/pdf",
    MediaKind.STICKER: "image/webp",
}
EDGE_BLOCKS: Final = 16
"""Pictures have this many blocks of 8 × 8 pixels along each edge."""
PICTURE_EDGE: Final = EDGE_BLOCKS * 8
_MAX_SEGMENT: Final = 65_533
"""Bytes that one JPEG comment holds: its 16 bits of length count themselves."""
_MIN_SIZE: Final = 2_000
"""Any kind's headers fit into this."""


def make(kind: MediaKind, mimetype: str, seed: int, size: int) -> bytes:
    """Bytes of the kind's format; `size` of them, but never fewer than the format needs. Raises KeyError for TEXT."""
    chance = random.Random(f"{kind.value}/{seed}")  # noqa: S311 - repeatable on purpose
    size = max(size or DEFAULT_SIZE[kind], _MIN_SIZE)
    if mimetype == "image/png":
        return _png(chance, size)
    if kind is MediaKind.IMAGE:
        return _jpeg(chance, size)
    if kind is MediaKind.STICKER:
        return _webp(chance, size)
    return _plain(_HEADS.get(mimetype.partition(";")[0], b""), chance, size)


_HEADS: Final = {
    "video/mp4": struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"isom", 512, b"isom", b"mp42"),
    "audio/ogg": b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x01" + struct.pack("<HIhB", 312, 16_000, 0, 0),
    "audio/mpeg": b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\x64",
    "application/pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n",
}
"""By these first bytes libmagic and players know the format."""


def _plain(head: bytes, chance: random.Random, size: int) -> bytes:
    if head[4:8] == b"ftyp":
        head += struct.pack(">I4s", size - len(head), b"mdat")
    return head + chance.randbytes(size - len(head))


# ---- PNG and WebP: a small picture, then a chunk that decoders skip


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(chance: random.Random, size: int) -> bytes:
    edge = 16
    rows = b"".join(b"\0" + chance.randbytes(edge * 3) for _ in range(edge))
    head = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0))
    picture, end = _png_chunk(b"IDAT", zlib.compress(rows, 1)), _png_chunk(b"IEND", b"")
    filling = size - len(head) - len(picture) - len(end) - 12
    return head + picture + _png_chunk(b"fiLl", chance.randbytes(max(filling, 0))) + end


_WEBP_PICTURE: Final = b"VP8L" + struct.pack("<I", 13) + bytes.fromhex("2f00000010071011118888fe0700")
"""One pixel, lossless, padded to an even length."""


def _webp(chance: random.Random, size: int) -> bytes:
    size -= size % 2
    filling = chance.randbytes(size - 12 - len(_WEBP_PICTURE) - 8)
    body = b"WEBP" + _WEBP_PICTURE + b"JUNK" + struct.pack("<I", len(filling)) + filling
    return b"RIFF" + struct.pack("<I", len(body)) + body


# ---- JPEG: grey blocks of random brightness (ITU-T T.81, baseline, DC coefficients only)

_DC_LENGTHS: Final = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
"""How many Huffman codes there are of each length, from table K.3."""
_QUANTUM: Final = 8
"""With it a DC coefficient is the difference of a block's brightness from mid-grey."""


def _dc_codes() -> list[tuple[int, int]]:
    """(code, length) of each category, in the canonical order."""
    codes, code = [], 0
    for length, many in enumerate(_DC_LENGTHS, start=1):
        for _ in range(many):
            codes.append((code, length))
            code += 1
        code <<= 1
    return codes


_DC_CODES: Final = _dc_codes()


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _scan(chance: random.Random) -> bytes:
    """Entropy-coded brightness of every block: category, difference, then the one-bit code for "no AC"."""
    bits = count = last = 0
    for byte in chance.randbytes(EDGE_BLOCKS * EDGE_BLOCKS):
        brightness = byte - 128
        difference, last = brightness - last, brightness
        category = abs(difference).bit_length()
        code, length = _DC_CODES[category]
        value = difference if difference >= 0 else difference + (1 << category) - 1
        bits = ((bits << length | code) << category | value) << 1
        count += length + category + 1
    filling = -count % 8
    coded = (bits << filling | (1 << filling) - 1).to_bytes((count + filling) // 8)
    return coded.replace(b"\xff", b"\xff\x00")


def _jpeg(chance: random.Random, size: int) -> bytes:
    head = (
        b"\xff\xd8"
        + _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
        + _segment(0xDB, b"\0" + bytes([_QUANTUM] * 64))
        + _segment(0xC0, struct.pack(">BHHBBBB", 8, PICTURE_EDGE, PICTURE_EDGE, 1, 1, 0x11, 0))
        + _segment(0xC4, b"\0" + bytes(_DC_LENGTHS) + bytes(range(12)))
        + _segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    )
    tail = _segment(0xDA, b"\x01\x01\0\0\x3f\0") + _scan(chance) + b"\xff\xd9"
    filling = size - len(head) - len(tail)
    comments = bytearray()
    while filling > 0:
        take = min(filling, _MAX_SEGMENT + 4 - 2)
        if 0 < filling - take < 4:  # what remains must hold a comment's own four bytes
            take -= 4
        take = max(take, 4)
        comments += _segment(0xFE, chance.randbytes(take - 4))
        filling -= take
    return head + bytes(comments) + tail
