"""Short films in H.264, coded by hand: real ones for every decoder, and each unlike every other.

A film is a slide show of textured squares: key frames hold their pixels as they are (macroblocks I_PCM), the frames
between them say "as before" (P_Skip). So an encoder has something to gain, and none is needed here. Formats: ITU-T
H.264 (2021) clauses 7.3 and 9.1; ISO/IEC 14496-12 and -15 for the boxes of the file.
"""

from __future__ import annotations

import functools
import random
import struct
from typing import Final, NamedTuple

FPS: Final = 25
SECONDS: Final = 3
_FRAMES: Final = FPS * SECONDS
_BLOCK: Final = 16
"""Edge of a macroblock in pixels."""
_PCM_BYTES: Final = 384
"""256 of brightness and two times 64 of colour."""
_SIZES: Final = ((480, 848), (288, 512), (144, 256), (64, 64))
"""Upright, as films of phones; 848 is the next multiple of a macroblock above 480 × 16 / 9."""
_HEADER_ROOM: Final = 4_000
_KEY_FRAMES: Final = 8
"""At most, so that a large film is not all key frames."""
_DARK, _BRIGHT, _GRAIN = 40, 200, 24
"""Brightness of the squares without their grain; away from 0, so that no byte needs escaping."""


class Film(NamedTuple):
    width: int
    height: int
    key_frames: int


def film_for(size: int) -> Film:
    """Dimensions and number of key frames of a film that has at most `size` bytes, if that is possible at all."""
    for width, height in _SIZES:
        frame = _frame_bytes(width, height)
        if size >= frame + _HEADER_ROOM:
            return Film(width, height, min((size - _HEADER_ROOM) // frame, _KEY_FRAMES))
    return Film(*_SIZES[-1], 1)


def look(seed: str, film: Film) -> list[bytes]:
    """Brightness of every square, row by row, of each key frame: what a decoder has to see, apart from the grain."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    squares = (film.width // _BLOCK) * (film.height // _BLOCK)
    tones = bytes(_DARK + number * (_BRIGHT - _DARK) // 255 for number in range(256))
    return [chance.randbytes(squares).translate(tones) for _ in range(film.key_frames)]


def mp4(seed: str, size: int) -> bytes:
    """A whole file of exactly `size` bytes, or of as many as the smallest film needs."""
    film = film_for(size)
    keys = look(seed, film)
    samples, every = [], -(-_FRAMES // len(keys))
    for number in range(_FRAMES):
        key, after = divmod(number, every)
        nal = _key_frame(keys[key], key) if after == 0 else _same_again(len(keys[key]), after)
        samples.append(struct.pack(">I", len(nal)) + nal)
    head = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2avc1mp41")
    index = len(_index(film, samples, every, 0))
    filling = size - len(head) - index - sum(map(len, samples)) - 16
    free = _box(b"free", random.Random(f"{seed}/free").randbytes(max(filling, 0)))  # noqa: S311
    offset = len(head) + index + len(free) + 8
    return head + _index(film, samples, every, offset) + free + _box(b"mdat", *samples)


def _frame_bytes(width: int, height: int) -> int:
    return (width // _BLOCK) * (height // _BLOCK) * (_PCM_BYTES + 2)


# ---- H.264


class _Bits:
    """Bits from the left; `exp` is the Exp-Golomb code of clause 9.1."""

    def __init__(self) -> None:
        self._value, self._count = 1, 0

    def put(self, value: int, count: int) -> _Bits:
        self._value, self._count = self._value << count | value, self._count + count
        return self

    def exp(self, *values: int) -> _Bits:
        for value in values:
            self.put(value + 1, 2 * (value + 1).bit_length() - 1)
        return self

    def aligned(self) -> bytes:
        """Filled up with zero bits."""
        filling = -self._count % 8
        return ((self._value << filling).to_bytes((self._count + filling) // 8 + 1))[1:]

    def ended(self) -> bytes:
        """With the stop bit."""
        return self.put(1, 1).aligned()


_PARAMETERS: Final = bytes([0x68]) + _Bits().exp(0, 0).put(0, 2).exp(0, 0, 0).put(0, 3).exp(0, 0, 0).put(4, 3).ended()
"""Picture parameter set: CAVLC, one reference, deblocking is said in each slice."""


def _sequence(film: Film) -> bytes:
    """Sequence parameter set: constrained baseline, level 3.1, eight bits of frame number, output in coding order."""
    bits = _Bits().put(66, 8).put(0xC0, 8).put(31, 8).exp(0, 4, 2, 1).put(0, 1)
    bits.exp(film.width // _BLOCK - 1, film.height // _BLOCK - 1).put(0b1100, 4)
    return bytes([0x67]) + bits.ended()


@functools.cache
def _square(tone: int) -> bytes:
    """A macroblock of this brightness: its type (25, I_PCM), and its pixels with their grain."""
    chance = random.Random(tone)  # noqa: S311 - repeatable on purpose
    grain = bytes(tone + chance.randrange(-_GRAIN, _GRAIN + 1) for _ in range(256))
    return b"\x0d\x00" + grain + bytes([128 + tone // 8]) * 64 + bytes([144 - tone // 8]) * 64


def _key_frame(tones: bytes, number: int) -> bytes:
    header = _Bits().exp(0, 7, 0).put(0, 8).exp(number % 2).put(0, 2).exp(0, 1)
    first = header.exp(25).aligned()
    return b"\x65" + first + b"".join(map(_square, tones))[2:] + b"\x80"


def _same_again(squares: int, frame_number: int) -> bytes:
    header = _Bits().exp(0, 5, 0).put(frame_number, 8).put(0, 3).exp(0, 1)
    return b"\x21" + _escaped(header.exp(squares).ended())


def _escaped(payload: bytes) -> bytes:
    """With a 3 wherever two zeros are followed by a byte below 4 (clause 7.4.1)."""
    escaped, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte < 4:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(escaped)


# ---- MP4


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def _table(kind: bytes, entries: list[bytes], *before: bytes) -> bytes:
    return _box(kind, bytes(4), *before, struct.pack(">I", len(entries)), *entries)


_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def _index(film: Film, samples: list[bytes], every: int, offset: int) -> bytes:
    """The box `moov` for samples that lie one after the other from `offset` on."""
    length = struct.pack(">I", SECONDS * 1000)
    times = bytes(8) + struct.pack(">I", 1000)
    shape = struct.pack(">HH", film.width, film.height)
    sequence = _sequence(film)
    described = _box(
        b"avc1",
        bytes(6) + b"\0\1" + bytes(16) + shape + struct.pack(">IIIH", 0x480000, 0x480000, 0, 1) + bytes(32),
        b"\0\x18\xff\xff",
        _box(
            b"avcC",
            b"\1" + sequence[1:4] + b"\xff\xe1" + struct.pack(">H", len(sequence)) + sequence,
            b"\1" + struct.pack(">H", len(_PARAMETERS)) + _PARAMETERS,
        ),
    )
    keys = [struct.pack(">I", number + 1) for number in range(0, len(samples), every)]
    stored = _box(
        b"stbl",
        _table(b"stsd", [described]),
        _table(b"stts", [struct.pack(">II", len(samples), 1000 // FPS)]),
        _table(b"stss", keys),
        _table(b"stsc", [struct.pack(">III", 1, len(samples), 1)]),
        _table(b"stsz", [struct.pack(">I", len(sample)) for sample in samples], bytes(4)),
        _table(b"stco", [struct.pack(">I", offset)]),
    )
    media = _box(
        b"mdia",
        _box(b"mdhd", bytes(4), times, length, b"\x55\xc4\0\0"),
        _box(b"hdlr", bytes(8), b"vide", bytes(13)),
        _box(
            b"minf",
            _box(b"vmhd", b"\0\0\0\1", bytes(8)),
            _box(b"dinf", _table(b"dref", [_box(b"url ", b"\0\0\0\1")])),
            stored,
        ),
    )
    whole = struct.pack(">II", film.width << 16, film.height << 16)
    track = _box(
        b"trak",
        _box(b"tkhd", b"\0\0\0\7", bytes(8), struct.pack(">II", 1, 0), length, bytes(16), _MATRIX, whole),
        media,
    )
    movie = _box(
        b"mvhd", bytes(4), times, length, struct.pack(">IH", 0x10000, 0x100), bytes(10), _MATRIX, bytes(24), b"\0\0\0\2"
    )
    return _box(b"moov", movie, track)
