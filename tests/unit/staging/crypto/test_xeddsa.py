from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings as sodium

from appliance.staging.crypto import xeddsa
from appliance.staging.crypto.errors import BadSignatureError
from appliance.staging.crypto.keys import KeyPair

keys = st.binary(min_size=32, max_size=32).map(KeyPair.from_private)
seeds = st.binary(min_size=64, max_size=64)


@given(keys, st.binary(max_size=100), seeds)
def test_signatures_are_those_of_ed25519(pair: KeyPair, message: bytes, seed: bytes) -> None:
    """Checked with the Edwards point that the private scalar gives, not with our conversion of the public key."""
    signature = xeddsa.sign(pair.private, message, seed)
    scalar = bytearray(pair.private)
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(bytes(scalar))
    assert signature[63] & 0x80 == point[31] & 0x80
    Ed25519PublicKey.from_public_bytes(point).verify(signature[:63] + bytes([signature[63] & 0x7F]), message)
    assert xeddsa.to_edwards(pair.public, point[31] & 0x80) == point
    assert xeddsa.verify(pair.public, message, signature)


@given(keys, st.binary(max_size=50), st.integers(0, 63), st.integers(0, 7))
def test_any_changed_bit_is_noticed(pair: KeyPair, message: bytes, at: int, bit: int) -> None:
    signature = bytearray(xeddsa.sign(pair.private, message))
    signature[at] ^= 1 << bit
    assert not xeddsa.verify(pair.public, message, bytes(signature))
    assert not xeddsa.verify(pair.public, message + b"x", xeddsa.sign(pair.private, message))


def test_a_signature_made_by_libsignal() -> None:
    """The vector of libsignal's Curve25519 tests: a key signed by an identity."""
    identity = bytes.fromhex("ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64")
    signed = bytes.fromhex("05edce9d9c415ca78cb7252e72c2c4a554d3eb29485a0e1d503118d1a82d99fb4a")
    signature = bytes.fromhex(
        "5de88ca9a89b4a115da79109c67c9c7464a3e4180274f1cb8c63c2984e286dfb"
        "ede82deb9dcd9fae0bfbb821569b3d9001bd8130cd11d486cef047bd60b86e88"
    )
    assert xeddsa.verify(identity, signed, signature)


def test_the_same_random_gives_the_same_signature() -> None:
    pair = KeyPair.generate()
    assert xeddsa.sign(pair.private, b"m", bytes(64)) == xeddsa.sign(pair.private, b"m", bytes(64))
    assert xeddsa.sign(pair.private, b"m") != xeddsa.sign(pair.private, b"m")


def test_wrong_sizes_and_wrong_keys() -> None:
    pair = KeyPair.generate()
    signature = xeddsa.sign(pair.private, b"m")
    assert not xeddsa.verify(pair.public[:31], b"m", signature)
    assert not xeddsa.verify(pair.public, b"m", signature[:63])
    assert not xeddsa.verify(b"\xff" * 32, b"m", signature)
    with pytest.raises(BadSignatureError, match="the test"):
        xeddsa.check(KeyPair.generate().public, b"m", signature, "the test")
    with pytest.raises(ValueError, match="32 bytes"):
        xeddsa.sign(bytes(31), b"m")
