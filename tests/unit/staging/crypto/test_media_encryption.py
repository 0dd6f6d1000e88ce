from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.crypto import media
from appliance.staging.crypto.errors import DecryptionError
from appliance.staging.crypto.media import MediaType
from appliance.staging.crypto.primitives import hkdf


@given(st.binary(max_size=200), st.sampled_from(MediaType))
def test_every_file_comes_back(plaintext: bytes, media_type: MediaType) -> None:
    file = media.encrypt(plaintext, media_type)
    assert media.decrypt(file.blob, media_type, file.media_key) == plaintext
    assert (file.file_length, file.media_type) == (len(plaintext), media_type)
    assert file.file_sha256 == hashlib.sha256(plaintext).digest()
    assert file.file_enc_sha256 == hashlib.sha256(file.blob).digest()


@pytest.mark.parametrize(
    ("media_type", "info"),
    [
        (MediaType.IMAGE, b"WhatsApp Image Keys"),
        (MediaType.VIDEO, b"WhatsApp Video Keys"),
        (MediaType.AUDIO, b"WhatsApp Audio Keys"),
        (MediaType.DOCUMENT, b"WhatsApp Document Keys"),
        (MediaType.HISTORY, b"WhatsApp History Keys"),
    ],
)
def test_the_blob_is_that_of_the_facts(media_type: MediaType, info: bytes) -> None:
    file = media.encrypt(b"plain", media_type, b"k" * 32)
    okm = hkdf(b"k" * 32, None, info, 112)
    iv, key, mac = okm[:16], okm[16:48], okm[48:80]
    assert hmac.digest(mac, iv + file.blob[:-10], "sha256")[:10] == file.blob[-10:]
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    assert decryptor.update(file.blob[:-10]) + decryptor.finalize() == b"plain" + b"\x0b" * 11


def test_the_size_is_that_which_the_engine_uploads() -> None:
    """Measured: a document of 5000 bytes is 5018 on the wire."""
    assert len(media.encrypt(bytes(5000), MediaType.DOCUMENT).blob) == 5018


@given(st.integers(0, 25), st.integers(0, 7))
def test_a_changed_blob_is_refused(at: int, bit: int) -> None:
    file = media.encrypt(b"plain", MediaType.IMAGE)
    damaged = bytearray(file.blob)
    damaged[at] ^= 1 << bit
    with pytest.raises(DecryptionError):
        media.decrypt(bytes(damaged), MediaType.IMAGE, file.media_key)


@given(st.binary(max_size=60))
def test_noise_and_other_kinds_of_keys_are_refused(data: bytes) -> None:
    with pytest.raises(DecryptionError):
        media.decrypt(data, MediaType.IMAGE, b"k" * 32)
    file = media.encrypt(data, MediaType.IMAGE)
    with pytest.raises(DecryptionError):
        media.decrypt(file.blob, MediaType.VIDEO, file.media_key)
