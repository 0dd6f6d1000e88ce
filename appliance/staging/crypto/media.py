"""Media as WhatsApp's hosts store it: encrypted with a key that only the message carries."""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass, field
from typing import Final

from appliance.staging.crypto.errors import DecryptionError
from appliance.staging.crypto.primitives import cbc_decrypt, cbc_encrypt, equal, hkdf, hmac_sha256, sha256

KEY_SIZE: Final = 32
TAG_SIZE: Final = 10
"""The HMAC at the end of a blob is cut to this."""


class MediaType(enum.StrEnum):
    """What the keys are derived for; the value is the `mms-type` and the folder on the media host."""

    IMAGE = "image"
    """Also stickers."""
    VIDEO = "video"
    """Also video notes."""
    AUDIO = "audio"
    """Also voice messages."""
    DOCUMENT = "document"
    HISTORY = "md-msg-hist"

    @property
    def info(self) -> bytes:
        return _INFO[self]


_INFO: Final = {
    MediaType.IMAGE: b"WhatsApp Image Keys",
    MediaType.VIDEO: b"WhatsApp Video Keys",
    MediaType.AUDIO: b"WhatsApp Audio Keys",
    MediaType.DOCUMENT: b"WhatsApp Document Keys",
    MediaType.HISTORY: b"WhatsApp History Keys",
}


@dataclass(frozen=True, slots=True)
class EncryptedMedia:
    """A blob for the media host, and what a message says about it."""

    blob: bytes = field(repr=False)
    media_key: bytes = field(repr=False)
    file_sha256: bytes
    file_enc_sha256: bytes
    file_length: int
    """Of the plain bytes."""
    media_type: MediaType


def encrypt(plaintext: bytes, media_type: MediaType, media_key: bytes | None = None) -> EncryptedMedia:
    """Encrypt a file. `media_key` is for known answers, or to encrypt one file for several messages."""
    key = secrets.token_bytes(KEY_SIZE) if media_key is None else media_key
    iv, cipher, mac = _derive(key, media_type)
    ciphertext = cbc_encrypt(cipher, iv, plaintext)
    blob = ciphertext + hmac_sha256(mac, iv + ciphertext)[:TAG_SIZE]
    return EncryptedMedia(blob, key, sha256(plaintext), sha256(blob), len(plaintext), media_type)


def decrypt(blob: bytes, media_type: MediaType, media_key: bytes) -> bytes:
    """Raises DecryptionError if the blob was changed, or the key is another one."""
    iv, cipher, mac = _derive(media_key, media_type)
    ciphertext, tag = blob[:-TAG_SIZE], blob[-TAG_SIZE:]
    if not equal(hmac_sha256(mac, iv + ciphertext)[:TAG_SIZE], tag):
        raise DecryptionError("media: MAC does not match")
    return cbc_decrypt(cipher, iv, ciphertext)


def _derive(media_key: bytes, media_type: MediaType) -> tuple[bytes, bytes, bytes]:
    """IV, AES key, MAC key; the last 32 of the 112 bytes are for partial downloads."""
    okm = hkdf(media_key, None, media_type.info, 112)
    return okm[:16], okm[16:48], okm[48:80]
