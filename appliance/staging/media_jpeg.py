"""Small pictures by hand: grey blocks of random brightness (ITU-T T.81, baseline, DC coefficients only)."""

from __future__ import annotations

import random
import struct
from typing import Final

EDGE_BLOCKS: Final = 16
"""Pictures have this many blocks of 8 × 8 pixels along each edge."""
PICTURE_EDGE: Final = EDGE_BLOCKS * 8
_MAX_SEGMENT: Final = 65_533
"""Bytes that one JPEG comment holds: its 16 bits of length count themselves."""

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


def jpeg(chance: random.Random, size: int) -> bytes:
    """Exactly `size` bytes, or as many as the blocks need."""
    head = (
        b"\xff\xd8"
        + _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
        + _segment(0xDB, b"\0" + bytes([_QUANTUM] * 64))
        + _segment(0xC0, struct.pack(">BHHBBBB", 8, PICTURE_EDGE, PICTURE_EDGE, 1, 1, 0x11, 0))
        + _segment(0xC4, b"\0" + bytes(_DC_LENGTHS) + bytes(range(12)))
        + _segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0")
    )
    tail = _segment(0xDA, b"\x01\x01\0\0\x3f\0") + _scan(chance) + b"\xff\xd9"
    return head + _comments(chance, size - len(head) - len(tail)) + tail


def with_comments(picture: bytes, size: int, seed: str) -> bytes:
    """A picture made larger, to `size` bytes, by comments of noise behind its first marker."""
    if len(picture) + 4 > size:
        return picture
    chance = random.Random(f"{seed}/comments")  # noqa: S311 - repeatable on purpose
    return picture[:2] + _comments(chance, size - len(picture)) + picture[2:]


def _comments(chance: random.Random, filling: int) -> bytes:
    comments = bytearray()
    while filling > 0:
        take = min(filling, _MAX_SEGMENT + 4 - 2)
        if 0 < filling - take < 4:  # what remains must hold a comment's own four bytes
            take -= 4
        take = max(take, 4)
        comments += _segment(0xFE, chance.randbytes(take - 4))
        filling -= take
    return bytes(comments)
