"""One session of Signal's Double Ratchet (message version 3), after the keys were agreed on.

A session is plain data: it can be copied before a message is tried and thrown away if the message is bad, and it can be
saved. See Signal's specification "The Double Ratchet Algorithm"; constants are those of libsignal.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.crypto.errors import DecryptionError, DuplicateMessageError, InvalidKeyError
from appliance.staging.crypto.keys import DJB_TYPE, KeyPair, untyped
from appliance.staging.crypto.primitives import cbc_decrypt, cbc_encrypt, equal, hkdf, hmac_sha256

VERSION: Final = b"\x33"
"""First byte of every message: version 3, and 3 the newest we know."""
MAC_SIZE: Final = 8
MAX_SKIPPED: Final = 2000
"""Messages that may be missing in front of one that arrives; each costs a key to keep."""
MAX_RECEIVING_CHAINS: Final = 5
"""Ratchet keys of the other side for which late messages are still read."""

_MESSAGE_KEY_SEED: Final = b"\x01"
_CHAIN_KEY_SEED: Final = b"\x02"
_RATCHET_INFO: Final = b"WhisperRatchet"
_MESSAGE_KEYS_INFO: Final = b"WhisperMessageKeys"


class Chain(msgspec.Struct):
    """Keys of one direction: the key of the next message, and those of messages that were jumped over."""

    key: bytes
    index: int = 0
    skipped: dict[int, bytes] = {}

    def step(self) -> bytes:
        """The seed of the message key at `index`; moves on by one."""
        seed = hmac_sha256(self.key, _MESSAGE_KEY_SEED)
        self.key = hmac_sha256(self.key, _CHAIN_KEY_SEED)
        self.index += 1
        return seed

    def seed_at(self, index: int) -> bytes:
        """The seed for a message that arrived; each can be had once.

        Raises DuplicateMessageError, and DecryptionError for a jump of more than MAX_SKIPPED.
        """
        if index < self.index:
            if index not in self.skipped:
                raise DuplicateMessageError(f"message {index} of its chain was read before")
            return self.skipped.pop(index)
        if index - self.index > MAX_SKIPPED:
            raise DecryptionError(f"message {index} is more than {MAX_SKIPPED} ahead of its chain")
        while self.index < index:
            at = self.index
            self.skipped[at] = self.step()
        while len(self.skipped) > MAX_SKIPPED:
            del self.skipped[next(iter(self.skipped))]
        return self.step()

    def copy(self) -> Chain:
        return Chain(self.key, self.index, dict(self.skipped))


class ReceivingChain(msgspec.Struct):
    """A chain of the other side, found by its ratchet key."""

    ratchet: bytes
    chain: Chain


class PendingPreKey(msgspec.Struct, frozen=True):
    """What goes in front of every message until the other side has answered."""

    base_key: bytes
    signed_pre_key_id: int
    pre_key_id: int | None


class SignalMessage(NamedTuple):
    """A SignalMessage, taken apart but not yet trusted."""

    ratchet: bytes
    counter: int
    ciphertext: bytes
    authenticated: bytes
    mac: bytes

    @classmethod
    def parse(cls, data: bytes) -> SignalMessage:
        """Raises DecryptionError."""
        body, mac = data[:-MAC_SIZE], data[-MAC_SIZE:]
        if body[:1] != VERSION:
            raise DecryptionError("not a message of version 3")
        try:
            fields = protobuf.decode(body[1:])
            return cls(untyped(fields.bytes(1)), fields.int(2), fields.bytes(4), body, mac)
        except (DecodeError, InvalidKeyError) as error:
            raise DecryptionError(f"message: {error}") from None


class Session(msgspec.Struct):
    """The state shared with one remote device. Public keys are without their type byte."""

    local_identity: bytes
    remote_identity: bytes
    base_key: bytes
    """The key with which the session was begun; names it."""
    root_key: bytes
    ratchet: KeyPair
    sending: Chain
    receiving: list[ReceivingChain] = []
    previous_counter: int = 0
    pending: PendingPreKey | None = None

    def copy(self) -> Session:
        receiving = [ReceivingChain(entry.ratchet, entry.chain.copy()) for entry in self.receiving]
        return msgspec.structs.replace(self, sending=self.sending.copy(), receiving=receiving)

    def encrypt(self, plaintext: bytes) -> bytes:
        """The next message of the sending chain."""
        counter = self.sending.index
        keys = _MessageKeys.derive(self.sending.step())
        body = VERSION + protobuf.encode(
            {
                1: self.ratchet.typed_public,
                2: counter,
                3: self.previous_counter,
                4: cbc_encrypt(keys.cipher, keys.iv, plaintext),
            }
        )
        return body + keys.tag(self.local_identity, self.remote_identity, body)

    def decrypt(self, message: SignalMessage) -> bytes:
        """Changes the session even if it raises (DecryptionError): work on a copy."""
        keys = _MessageKeys.derive(self._chain_for(message.ratchet).seed_at(message.counter))
        if not equal(keys.tag(self.remote_identity, self.local_identity, message.authenticated), message.mac):
            raise DecryptionError("message: MAC does not match")
        self.pending = None
        return cbc_decrypt(keys.cipher, keys.iv, message.ciphertext)

    def _chain_for(self, ratchet: bytes) -> Chain:
        known = next((entry.chain for entry in self.receiving if entry.ratchet == ratchet), None)
        if known is not None:
            return known
        try:
            root_key, chain_key = ratchet_step(self.root_key, self.ratchet, ratchet)
            answer = KeyPair.generate()
            self.root_key, sending_key = ratchet_step(root_key, answer, ratchet)
        except InvalidKeyError as error:
            raise DecryptionError(f"message: {error}") from None
        self.receiving = [*self.receiving, ReceivingChain(ratchet, Chain(chain_key))][-MAX_RECEIVING_CHAINS:]
        self.previous_counter = max(self.sending.index - 1, 0)
        self.ratchet, self.sending = answer, Chain(sending_key)
        return self.receiving[-1].chain


def ratchet_step(root_key: bytes, own: KeyPair, other: bytes) -> tuple[bytes, bytes]:
    """The next root key and the chain key that two ratchet keys give. Raises InvalidKeyError."""
    okm = hkdf(own.exchange(other), root_key, _RATCHET_INFO, 64)
    return okm[:32], okm[32:]


class _MessageKeys(NamedTuple):
    """The keys of a single message."""

    cipher: bytes
    mac: bytes
    iv: bytes

    @classmethod
    def derive(cls, seed: bytes) -> _MessageKeys:
        okm = hkdf(seed, None, _MESSAGE_KEYS_INFO, 80)
        return cls(okm[:32], okm[32:64], okm[64:])

    def tag(self, sender: bytes, receiver: bytes, body: bytes) -> bytes:
        return hmac_sha256(self.mac, DJB_TYPE + sender + DJB_TYPE + receiver + body)[:MAC_SIZE]
