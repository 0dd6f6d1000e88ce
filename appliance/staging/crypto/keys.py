"""X25519 key pairs: the one kind of key behind identities, pre-keys, ratchets and Noise."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from appliance.staging.crypto.errors import InvalidKeyError

KEY_SIZE: Final = 32
DJB_TYPE: Final = b"\x05"
"""Prefix of a Curve25519 public key inside Signal's messages and signatures."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Raw private and public key, 32 bytes each."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        return cls.from_private(secrets.token_bytes(KEY_SIZE))

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        """The pair of a private key, which need not be clamped. Raises InvalidKeyError if it is not 32 bytes."""
        if len(private) != KEY_SIZE:
            raise InvalidKeyError(f"private key of {len(private)} bytes, not {KEY_SIZE}")
        return cls(private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())

    @property
    def typed_public(self) -> bytes:
        """The public key as Signal writes it, with its type in front."""
        return DJB_TYPE + self.public

    def exchange(self, public: bytes) -> bytes:
        """Diffie–Hellman. Raises InvalidKeyError for a key of another length or of small order."""
        try:
            peer = X25519PublicKey.from_public_bytes(public)
            return X25519PrivateKey.from_private_bytes(self.private).exchange(peer)
        except ValueError:
            raise InvalidKeyError("public key refused by X25519") from None

    def to_dict(self) -> dict[str, str]:
        """For a file; contains the private key."""
        return {"private": to_text(self.private)}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> KeyPair:
        return cls.from_private(from_text(data["private"]))


def untyped(public: bytes) -> bytes:
    """Take Signal's type prefix off. Raises InvalidKeyError if there is none."""
    if len(public) != 1 + KEY_SIZE or public[:1] != DJB_TYPE:
        raise InvalidKeyError("not a Curve25519 public key with its type prefix")
    return public[1:]


def to_text(data: bytes) -> str:
    """Bytes as base64, for JSON."""
    return base64.b64encode(data).decode()


def from_text(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
