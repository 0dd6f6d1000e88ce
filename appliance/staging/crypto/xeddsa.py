"""XEdDSA: Ed25519 signatures made and checked with X25519 keys (Signal's specification "The XEdDSA and VXEdDSA
Signature Schemes"), in the older variant of libsignal, which keeps the sign of the Edwards point in the signature.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl import bindings as sodium

from appliance.staging.crypto.errors import BadSignatureError
from appliance.staging.crypto.keys import KEY_SIZE

SIGNATURE_SIZE: Final = 64
RANDOM_SIZE: Final = 64

_P: Final = 2**255 - 19
"""Order of the field of Curve25519."""
_HASH_PREFIX: Final = b"\xfe" + b"\xff" * 31
"""hash_1 of the specification: 2^256 - 2, little-endian."""
_SIGN: Final = 0x80
"""The bit of the last byte that says on which side the point is."""


def sign(private: bytes, message: bytes, random64: bytes | None = None) -> bytes:
    """Sign with an X25519 private key. `random64` is for known answers only."""
    nonce_seed = secrets.token_bytes(RANDOM_SIZE) if random64 is None else random64
    if len(private) != KEY_SIZE or len(nonce_seed) != RANDOM_SIZE:
        raise ValueError(f"sign needs a private key of {KEY_SIZE} bytes and {RANDOM_SIZE} random bytes")
    scalar = _clamp(private)
    point = sodium.crypto_scalarmult_ed25519_base_noclamp(scalar)
    nonce = _hash_to_scalar(_HASH_PREFIX, scalar, message, nonce_seed)
    commitment = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = _hash_to_scalar(commitment, point, message)
    reduced = sodium.crypto_core_ed25519_scalar_reduce(scalar + bytes(KEY_SIZE))
    response = bytearray(
        sodium.crypto_core_ed25519_scalar_add(sodium.crypto_core_ed25519_scalar_mul(challenge, reduced), nonce)
    )
    response[-1] |= point[-1] & _SIGN
    return bytes(commitment) + bytes(response)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of this X25519 public key signed the message."""
    if len(public) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    plain = signature[:-1] + bytes([signature[-1] & ~_SIGN])
    try:
        Ed25519PublicKey.from_public_bytes(to_edwards(public, signature[-1] & _SIGN)).verify(plain, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def check(public: bytes, message: bytes, signature: bytes, what: str) -> None:
    """Raise BadSignatureError, naming `what` was signed, unless the signature is right."""
    if not verify(public, message, signature):
        raise BadSignatureError(f"signature of {what} does not match")


def to_edwards(public: bytes, sign_bit: int) -> bytes:
    """The Ed25519 public key of an X25519 one: y = (u - 1) / (u + 1)."""
    u = (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _P
    y = (u - 1) * pow(u + 1, _P - 2, _P) % _P
    encoded = bytearray(y.to_bytes(KEY_SIZE, "little"))
    encoded[-1] |= sign_bit & _SIGN
    return bytes(encoded)


def _clamp(private: bytes) -> bytes:
    """RFC 7748, section 5."""
    scalar = bytearray(private)
    scalar[0] &= 248
    scalar[-1] &= 127
    scalar[-1] |= 64
    return bytes(scalar)


def _hash_to_scalar(*parts: bytes) -> bytes:
    digest = hashlib.sha512()
    for part in parts:
        digest.update(part)
    return bytes(sodium.crypto_core_ed25519_scalar_reduce(digest.digest()))
