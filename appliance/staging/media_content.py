"""The pictures, films and recordings that contacts send: made from a seed, of any size, each unlike every other.

Content is a function of (kind, seed, size), so the network remembers three numbers instead of gigabytes and can serve
the same bytes again after a restart. All of it really decodes and plays, so that compression has something to do.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from typing import Final

from appliance.model import MediaKind
from appliance.staging import media_jpeg, media_photo, media_sound, media_video
from appliance.staging.media_jpeg import PICTURE_EDGE

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
_MIN_SIZE: Final = 2_000
"""Any kind's headers fit into this."""


def make(kind: MediaKind, mimetype: str, seed: int, size: int) -> bytes:
    """Bytes of the kind's format; `size` of them, but never fewer than the format needs. Raises KeyError for TEXT."""
    named = seed_name(kind, seed)
    chance = random.Random(named)  # noqa: S311 - repeatable on purpose
    size = max(size or DEFAULT_SIZE[kind], _MIN_SIZE)
    if mimetype == "image/png":
        return _png(chance, size)
    if kind is MediaKind.IMAGE:
        return media_photo.jpeg(named, size) if size >= media_photo.LARGE else media_jpeg.jpeg(chance, size)
    if kind is MediaKind.STICKER:
        return _webp(chance, size)
    maker = _MAKERS.get(mimetype.partition(";")[0])
    return chance.randbytes(size) if maker is None else maker(named, size)


def seed_name(kind: MediaKind, seed: int) -> str:
    """What the random parts of a file grow from."""
    return f"{kind.value}/{seed}"


def dimensions(kind: MediaKind, mimetype: str, size: int) -> tuple[int, int]:
    """Width and height in pixels of what `make` makes; (0, 0) of what has none."""
    size = max(size or DEFAULT_SIZE[kind], _MIN_SIZE)
    if kind in (MediaKind.VIDEO, MediaKind.VIDEO_NOTE):
        film = media_video.film_for(size)
        return film.width, film.height
    if kind is MediaKind.IMAGE and mimetype != "image/png":
        return media_photo.dimensions(size) if size >= media_photo.LARGE else (PICTURE_EDGE, PICTURE_EDGE)
    return {MediaKind.IMAGE: (_PNG_EDGE, _PNG_EDGE), MediaKind.STICKER: (1, 1)}.get(kind, (0, 0))


# ---- PDF: one page of nothing, and a stream that no reader looks at


def _pdf(seed: str, size: int) -> bytes:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
    ]

    def whole(noise: bytes) -> bytes:
        out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
        stream = b"<</Length %d>>stream\n" % len(noise) + noise + b"\nendstream"
        for number, body in enumerate([*objects, stream], start=1):
            places.append(len(out))
            out += b"%d 0 obj" % number + body + b"endobj\n"
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        begin = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1) + table
        out += b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%010d\n%%%%EOF\n" % (len(places) + 1, begin)
        return bytes(out)

    room = size - len(whole(b"")) - len(str(size)) + 1
    found = whole(chance.randbytes(max(room, 0)))
    return found + b"\n" * (size - len(found))


_MAKERS: Final[dict[str, Callable[[str, int], bytes]]] = {
    "video/mp4": media_video.mp4,
    "audio/ogg": media_sound.ogg_opus,
    "audio/mpeg": media_sound.mp3,
    "application/pdf": _pdf,
}


# ---- PNG and WebP: a small picture, then a chunk that decoders skip

_PNG_EDGE: Final = 16


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(chance: random.Random, size: int) -> bytes:
    edge = _PNG_EDGE
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
