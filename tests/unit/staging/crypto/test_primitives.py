from __future__ import annotations

import json

import pytest

from appliance.staging.crypto.errors import DecryptionError, InvalidKeyError
from appliance.staging.crypto.keys import KeyPair, untyped
from appliance.staging.crypto.primitives import cbc_decrypt, cbc_encrypt, ctr, gcm_decrypt, gcm_encrypt, hkdf


def test_hkdf_gives_the_answers_of_rfc_5869() -> None:
    """Appendix A.1 and A.3."""
    okm = hkdf(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    okm = hkdf(b"\x0b" * 22, None, b"", 42)
    assert okm.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"


def test_key_exchange_gives_the_answers_of_rfc_7748() -> None:
    """Section 6.1."""
    alice = KeyPair.from_private(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = KeyPair.from_private(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    assert alice.exchange(bob.public).hex() == bob.exchange(alice.public).hex() == shared


def test_aes_gives_the_answers_of_nist_sp_800_38a() -> None:
    """F.2.5 (CBC-AES256) and F.5.5 (CTR-AES256), first block."""
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    block = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    assert cbc_encrypt(key, bytes(range(16)), block)[:16].hex() == "f58c4c04d6e5f1ba779eabfb5f7bfbd6"
    assert ctr(key, bytes(range(0xF0, 0x100)), block).hex() == "601ec313775789a5b7a7f504bbf3d228"


def test_changed_bytes_are_refused() -> None:
    sealed = gcm_encrypt(bytes(32), bytes(12), b"text", b"associated")
    assert gcm_decrypt(bytes(32), bytes(12), sealed, b"associated") == b"text"
    with pytest.raises(DecryptionError):
        gcm_decrypt(bytes(32), bytes(12), sealed, b"other")
    with pytest.raises(DecryptionError):
        cbc_decrypt(bytes(32), bytes(16), b"not a block")
    with pytest.raises(DecryptionError):
        cbc_decrypt(bytes(32), bytes(16), b"")


@pytest.mark.parametrize("public", [b"", bytes(32), b"\x01" + bytes(31), bytes(33)])
def test_bad_public_keys_are_refused(public: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        KeyPair.generate().exchange(public)


@pytest.mark.parametrize("typed", [b"", bytes(33), b"\x05" + bytes(31), b"\x05" + bytes(33)])
def test_type_prefix_is_required(typed: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        untyped(typed)


def test_a_key_pair_survives_a_file_and_hides_its_private_half() -> None:
    pair = KeyPair.generate()
    assert KeyPair.from_dict(json.loads(json.dumps(pair.to_dict()))) == pair
    assert untyped(pair.typed_public) == pair.public
    assert "private" not in repr(pair)
    with pytest.raises(InvalidKeyError, match="31"):
        KeyPair.from_private(bytes(31))
