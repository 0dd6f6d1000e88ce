"""Keys of stored objects: built only from parts that we made ourselves, so that nothing hostile can steer them.

`<category>/<session>/<yyyy-mm-dd>/<hash>.<extension>`: the date is that of the capture (UTC), the hash is the beginning
of the content's SHA-256, the extension comes from the table below. Names and types that a sender chose appear nowhere.
"""

from __future__ import annotations

import datetime
import re
from typing import Final

from appliance.model import Category

HASH_DIGITS: Final = 32
"""128 bits of the SHA-256: short enough to read, and a sender cannot construct two files that share them."""
SNIFF_BYTES: Final = 16
"""Every signature below lies within the first so many bytes of a file."""
KEY_PATTERN: Final = re.compile(
    r"(?:statuses|deleted-messages|view-once)/[a-z0-9-]{1,32}/\d{4}-\d{2}-\d{2}/[0-9a-f]{32}\.[a-z0-9]{2,4}"
)

_EXTENSIONS: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/3gpp": "3gp",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "audio/ogg": "ogg",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/aac": "aac",
    "audio/amr": "amr",
    "audio/wav": "wav",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "text/plain": "txt",
}
_FALLBACK: Final = "bin"
_BRANDS: Final = {b"M4A ": "audio/mp4", b"qt  ": "video/quicktime", b"3gp": "video/3gpp"}
"""Major brand of an ISO base media file (ISO/IEC 14496-12), by its beginning; everything else is taken for MP4."""
_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR", "audio/amr"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"%PDF-", "application/pdf"),
)


def sniff(head: bytes) -> str | None:
    """The media type that the first bytes of a file speak of; None if they speak of none that we know."""
    for signature, mimetype in _SIGNATURES:
        if head.startswith(signature):
            return mimetype
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return next((kind for brand, kind in _BRANDS.items() if head[8:12].startswith(brand)), "video/mp4")
    return None


def extension(head: bytes, declared: str) -> str:
    """Extension for a file that begins with `head` and is declared as `declared` (parameters are ignored).

    >>> extension(b"\\xff\\xd8\\xff\\xe0", "application/x-sh")
    'jpg'
    >>> extension(b"hello", "../../etc")
    'bin'
    """
    plain = declared.partition(";")[0].strip().lower()
    return _EXTENSIONS.get(sniff(head) or plain, _FALLBACK)


def object_key(category: Category, session: str, captured_at: float, sha256: str, suffix: str) -> str:
    """The key of an object. Raises ValueError if a part has another form than the appliance's own."""
    day = datetime.datetime.fromtimestamp(captured_at, datetime.UTC).strftime("%Y-%m-%d")
    key = f"{category.value}/{session}/{day}/{sha256[:HASH_DIGITS]}.{suffix}"
    check_key(key)
    return key


def check_key(key: str) -> None:
    """Raises ValueError unless `key` has the form of this module: no other place can be named by it."""
    if KEY_PATTERN.fullmatch(key) is None:
        raise ValueError("not a key of the media store")


def session_of(key: str) -> str:
    """The session that a key of the media store belongs to.

    >>> session_of("statuses/one/2026-09-21/0123.jpg")
    'one'
    """
    return key.split("/")[1]
