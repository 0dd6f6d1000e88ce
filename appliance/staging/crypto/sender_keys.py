"""Sender keys: one encryption for everybody in a group, or for everybody who may see a status.

The sender gives each device its key once, in a SenderKeyDistributionMessage; a chain then gives one key per message,
and a signature proves the sender, because every receiver could make the rest.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec

from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.crypto import xeddsa
from appliance.staging.crypto.errors import DecryptionError, InvalidKeyError, NoSessionError
from appliance.staging.crypto.keys import KeyPair, untyped
from appliance.staging.crypto.primitives import cbc_decrypt, cbc_encrypt, hkdf
from appliance.staging.crypto.ratchet import VERSION, Chain

MAX_KEYS: Final = 5
"""Sender keys kept of one sender in one group; libsignal keeps as many."""
_KEY_ID_LIMIT: Final = 1 << 31
_INFO: Final = b"WhisperGroup"


class SenderKey(msgspec.Struct):
    """The sender's side: one per sender and group."""

    key_id: int
    chain: Chain
    signing: KeyPair

    @classmethod
    def generate(cls) -> Self:
        return cls(secrets.randbelow(_KEY_ID_LIMIT), Chain(secrets.token_bytes(32)), KeyPair.generate())

    def distribution(self) -> bytes:
        """The SenderKeyDistributionMessage for a device that joins now: it reads what comes from here on."""
        return VERSION + protobuf.encode(
            {1: self.key_id, 2: self.chain.index, 3: self.chain.key, 4: self.signing.typed_public}
        )

    def encrypt(self, plaintext: bytes) -> bytes:
        """A skmsg: the same bytes for every device."""
        iteration = self.chain.index
        key, iv = _message_keys(self.chain.step())
        body = VERSION + protobuf.encode({1: self.key_id, 2: iteration, 3: cbc_encrypt(key, iv, plaintext)})
        return body + xeddsa.sign(self.signing.private, body)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, bytes as base64; contains private keys."""
        data: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return msgspec.convert(data, cls, str_keys=True)


class ReceivedSenderKey(msgspec.Struct):
    """What a receiver knows of one sender key."""

    key_id: int
    chain: Chain
    signing: bytes


class ReceivedSenderKeys(msgspec.Struct):
    """The receiver's side: keys of all senders in all groups, the newest of each first."""

    keys: dict[str, list[ReceivedSenderKey]] = {}

    def accept(self, group: str, sender: str, distribution: bytes) -> None:
        """Take a SenderKeyDistributionMessage. A key that is known already keeps its place in the chain.

        Raises DecryptionError if it is malformed.
        """
        if distribution[:1] != VERSION:
            raise DecryptionError("not a sender key distribution of version 3")
        try:
            fields = protobuf.decode(distribution[1:])
            key = ReceivedSenderKey(fields.int(1), Chain(fields.bytes(3), fields.int(2)), untyped(fields.bytes(4)))
        except (DecodeError, InvalidKeyError) as error:
            raise DecryptionError(f"sender key distribution: {error}") from None
        known = self.keys.setdefault(_name(group, sender), [])
        if all((key.key_id, key.signing) != (other.key_id, other.signing) for other in known):
            known.insert(0, key)
            del known[MAX_KEYS:]

    def decrypt(self, group: str, sender: str, message: bytes) -> bytes:
        """Open a skmsg. Nothing changes if it raises: DecryptionError, DuplicateMessageError, NoSessionError."""
        body, signature = message[: -xeddsa.SIGNATURE_SIZE], message[-xeddsa.SIGNATURE_SIZE :]
        if body[:1] != VERSION:
            raise DecryptionError("not a sender key message of version 3")
        try:
            fields = protobuf.decode(body[1:])
            key_id, iteration, ciphertext = fields.int(1), fields.int(2), fields.bytes(3)
        except DecodeError as error:
            raise DecryptionError(f"sender key message: {error}") from None
        candidates = [key for key in self.keys.get(_name(group, sender), []) if key.key_id == key_id]
        if not candidates:
            raise NoSessionError("this sender's key was never distributed to us")
        signer = next((key for key in candidates if xeddsa.verify(key.signing, body, signature)), None)
        if signer is None:
            raise DecryptionError("sender key message: signature does not match")
        chain = signer.chain.copy()
        key, iv = _message_keys(chain.seed_at(iteration))
        plaintext = cbc_decrypt(key, iv, ciphertext)
        signer.chain = chain
        return plaintext

    def to_dict(self) -> dict[str, Any]:
        """For JSON, bytes as base64."""
        data: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return msgspec.convert(data, cls, str_keys=True)


def _name(group: str, sender: str) -> str:
    return f"{group} {sender}"


def _message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """AES key and IV: here the IV comes first."""
    okm = hkdf(seed, None, _INFO, 48)
    return okm[16:], okm[:16]
