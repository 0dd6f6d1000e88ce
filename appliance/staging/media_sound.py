"""Recordings of silence that really play, with a comment of noise that makes each unlike every other.

Formats: RFC 3533 (Ogg), RFC 7845 (Opus in it); ISO/IEC 11172-3 (MP3 frames) and ID3 2.4.
"""

from __future__ import annotations

import bisect
import random
import struct
from typing import Final

_RATE: Final = 48_000
_SILENCE: Final = b"\xf8\xff\xfe"
"""An Opus packet (RFC 6716) of 20 ms of silence: CELT, full band, one channel."""
_PACKET_SAMPLES: Final = _RATE // 50
_PRE_SKIP: Final = 312
_MAX_SEGMENTS: Final = 255
_PAGE_HEAD: Final = 27
_SERIAL: Final = 1
_CONTINUED, _FIRST, _LAST = 1, 2, 4
"""Flags of an Ogg page."""
_FRAME: Final = b"\xff\xfb\x90\xc4" + bytes(413)
"""An MP3 frame of silence: layer III, 128 kbit/s, 44.1 kHz, one channel."""


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return table


_CRC: Final = _crc_table()


def ogg_opus(seed: str, size: int, seconds: int = 1) -> bytes:
    """A voice message of `seconds`, `size` bytes long; longer only if its silence needs more."""
    head = b"OpusHead\1\1" + struct.pack("<HIhB", _PRE_SKIP, 16_000, 0, 0)
    packets = [_SILENCE] * (seconds * 50)
    end = len(packets) * _PACKET_SAMPLES + _PRE_SKIP
    begin = _pages([head], 0, _FIRST, 0)

    def tags(noise: bytes) -> bytes:
        comment = b"NOISE=" + noise
        return b"OpusTags" + struct.pack("<I", 4) + b"made" + struct.pack("<II", 1, len(comment)) + comment

    room = size - len(begin) - len(_pages(packets, 0, _LAST, end))
    noise = random.Random(seed).randbytes(max(room // 2, 0)).hex().encode()  # noqa: S311
    bare = len(tags(b""))

    def fitting(segments: int) -> int:
        """Bytes of noise for which there is room."""
        return bisect.bisect_right(range(len(noise)), room, key=lambda size: _paged(bare + size, segments)) - 1

    # Where a page is full, the head of the next one may not fit; pages that end a little earlier leave no such gap.
    segments = max(_MAX_SEGMENTS, _MAX_SEGMENTS - 1, key=fitting)
    middle = _pages([tags(noise[: max(0, fitting(segments))])], 1, 0, 0, segments)
    return begin + middle + _pages(packets, 1 + middle.count(b"OggS\0"), _LAST, end)


def _pages(packets: list[bytes], number: int, flags: int, position: int, segments: int = _MAX_SEGMENTS) -> bytes:
    """Packets as pages from `number` on; `flags` of the first or last one, the position of the last one. `segments`: at
    most so many in a page."""
    lacing: list[bytes] = []
    ends: list[bool] = []
    for packet in packets:
        pieces = [packet[at : at + 255] for at in range(0, len(packet) + 1, 255)]
        lacing += pieces
        ends += [False] * (len(pieces) - 1) + [True]
    out = b""
    starts = range(0, len(lacing), segments)
    for at in starts:
        pieces, last = lacing[at : at + segments], at == starts[-1]
        kind = (_CONTINUED if at and not ends[at - 1] else 0) | (flags & _FIRST) | (flags & _LAST if last else 0)
        finished = position if last else (0 if any(ends[at : at + segments]) else -1)
        head = struct.pack("<BBqIII", 0, kind, finished, _SERIAL, number, 0)
        body = bytes([len(pieces)]) + bytes(map(len, pieces)) + b"".join(pieces)
        page = b"OggS" + head + body
        out += page[:22] + struct.pack("<I", _crc(page)) + page[26:]
        number += 1
    return out


def _paged(size: int, segments: int) -> int:
    """Bytes of the pages of one packet."""
    lacing = size // 255 + 1
    return size + lacing + _PAGE_HEAD * -(-lacing // segments)


def _crc(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _CRC[value >> 24 ^ byte]
    return value


def mp3(seed: str, size: int) -> bytes:
    """A second of silence after a tag that fills the file; less of it in a file that is too small."""
    frames = min(38, max(1, (size - 64) // len(_FRAME)))
    owner = b"noise\0"
    noise = random.Random(seed).randbytes(max(size - frames * len(_FRAME) - 20 - len(owner), 0))  # noqa: S311
    private = b"PRIV" + _syncsafe(len(owner) + len(noise)) + b"\0\0" + owner + noise
    return b"ID3\4\0\0" + _syncsafe(len(private)) + private + _FRAME * frames


def _syncsafe(number: int) -> bytes:
    """Seven bits in each of four bytes."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
