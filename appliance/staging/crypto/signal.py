"""A complete Signal endpoint: what a simulated phone or contact needs to exchange messages with companion devices.

Keys are agreed on with X3DH (Signal's specification "The X3DH Key Agreement Protocol"), messages go through
`ratchet.Session`. Everything can be saved, so that a conversation survives a restart of the staging network.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import msgspec

from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.jid import Jid
from appliance.staging.crypto import xeddsa
from appliance.staging.crypto.errors import DecryptionError, DuplicateMessageError, InvalidKeyError, NoSessionError
from appliance.staging.crypto.keys import KeyPair, untyped
from appliance.staging.crypto.primitives import hkdf
from appliance.staging.crypto.ratchet import (
    VERSION,
    Chain,
    PendingPreKey,
    ReceivingChain,
    Session,
    SignalMessage,
    ratchet_step,
)

SIGNED_PRE_KEY_ID: Final = 1
MAX_REGISTRATION_ID: Final = 16380
"""Registration ids are 1 to 16380 in libsignal: 14 bits, a few values kept back."""
MAX_SESSIONS: Final = 40
"""Sessions kept for one remote device; libsignal archives as many."""
MAX_PRE_KEYS: Final = 1000
"""One-time pre-keys kept. They are not deleted on use: a client that is told of a device twice uses one key twice."""
PRE_KEY_ID_LIMIT: Final = 0xFFFFFF
"""Ids have three bytes in stanzas."""
MAX_PADDING: Final = 15

_X3DH_PREFIX: Final = b"\xff" * 32
_X3DH_INFO: Final = b"WhisperText"


class MessageType(enum.StrEnum):
    """The `type` of an `<enc>` for one device."""

    PKMSG = "pkmsg"
    """Carries what the receiver needs to begin the session."""
    MSG = "msg"


class PreKeyBundle(msgspec.Struct, frozen=True):
    """What a device publishes so that others can write to it. Public keys are without their type byte."""

    registration_id: int
    identity: bytes
    signed_pre_key_id: int
    signed_pre_key: bytes
    signed_pre_key_signature: bytes
    pre_key_id: int | None = None
    pre_key: bytes | None = None


class PreKeyMessage(NamedTuple):
    """A pkmsg, taken apart but not yet trusted."""

    registration_id: int
    pre_key_id: int | None
    signed_pre_key_id: int
    base_key: bytes
    identity: bytes
    message: bytes

    @classmethod
    def parse(cls, data: bytes) -> PreKeyMessage:
        """Raises DecryptionError."""
        if data[:1] != VERSION:
            raise DecryptionError("not a pre-key message of version 3")
        try:
            fields = protobuf.decode(data[1:])
            return cls(
                fields.int(5),
                fields.int(1) if fields.has(1) else None,
                fields.int(6),
                untyped(fields.bytes(2)),
                untyped(fields.bytes(3)),
                fields.bytes(4),
            )
        except (DecodeError, InvalidKeyError) as error:
            raise DecryptionError(f"pre-key message: {error}") from None


class Endpoint(msgspec.Struct):
    """One device with all of its sessions. `address` is the remote device: its LID, with the device number."""

    identity: KeyPair
    registration_id: int
    signed_pre_key: KeyPair
    signed_pre_key_signature: bytes
    pre_keys: dict[int, KeyPair] = {}
    next_pre_key_id: int = 1
    sessions: dict[str, list[Session]] = {}
    """By remote address, the one in use first."""

    @classmethod
    def generate(cls, identity: KeyPair | None = None) -> Self:
        """A new device; give `identity` for a phone whose account has one already."""
        own = KeyPair.generate() if identity is None else identity
        signed = KeyPair.generate()
        signature = xeddsa.sign(own.private, signed.typed_public)
        return cls(own, 1 + secrets.randbelow(MAX_REGISTRATION_ID), signed, signature)

    def bundle(self, *, one_time: bool = True) -> PreKeyBundle:
        """What this device publishes, with a new one-time pre-key unless told otherwise."""
        pre_key_id, pre_key = self._new_pre_key() if one_time else (None, None)
        return PreKeyBundle(
            self.registration_id,
            self.identity.public,
            SIGNED_PRE_KEY_ID,
            self.signed_pre_key.public,
            self.signed_pre_key_signature,
            pre_key_id,
            pre_key,
        )

    def _new_pre_key(self) -> tuple[int, bytes]:
        pre_key_id, pair = self.next_pre_key_id, KeyPair.generate()
        self.pre_keys[pre_key_id] = pair
        self.next_pre_key_id = pre_key_id % PRE_KEY_ID_LIMIT + 1
        while len(self.pre_keys) > MAX_PRE_KEYS:
            del self.pre_keys[next(iter(self.pre_keys))]
        return pre_key_id, pair.public

    def has_session(self, address: Jid) -> bool:
        """Whether a message can be sent there without a bundle."""
        return str(address) in self.sessions

    def forget(self, address: Jid) -> None:
        """Drop every session with a device, as after it was removed or asked for a retry."""
        self.sessions.pop(str(address), None)

    def encrypt(self, address: Jid, bundle: PreKeyBundle | None, plaintext: bytes) -> tuple[MessageType, bytes]:
        """Encrypt for one device. A bundle begins a new session; without one the session in use goes on.

        A session that was never answered goes on sending pkmsg. Raises NoSessionError without bundle and session, and
        BadSignatureError or InvalidKeyError for a bad bundle.
        """
        if bundle is not None:
            self._use(address, self._begin(bundle))
        known = self.sessions.get(str(address))
        if not known:
            raise NoSessionError("no session with this device; its bundle is needed")
        session = known[0]
        message = session.encrypt(plaintext)
        if session.pending is None:
            return MessageType.MSG, message
        fields: dict[int, protobuf.Value] = {}
        if session.pending.pre_key_id is not None:
            fields[1] = session.pending.pre_key_id
        fields[2] = b"\x05" + session.pending.base_key
        fields[3] = self.identity.typed_public
        fields[4] = message
        fields[5] = self.registration_id
        fields[6] = session.pending.signed_pre_key_id
        return MessageType.PKMSG, VERSION + protobuf.encode(fields)

    def decrypt(self, address: Jid, message_type: str, ciphertext: bytes) -> bytes:
        """Decrypt what a device sent; the session that opens it is the one in use from now on.

        Nothing changes if it raises: DecryptionError, with DuplicateMessageError and NoSessionError as special cases.
        """
        if message_type == MessageType.MSG:
            return self._decrypt(address, SignalMessage.parse(ciphertext), self.sessions.get(str(address), []))
        if message_type != MessageType.PKMSG:
            raise DecryptionError(f"type of <enc>: {message_type!r} is not for one device")
        envelope = PreKeyMessage.parse(ciphertext)
        known = [
            session
            for session in self.sessions.get(str(address), [])
            if session.base_key == envelope.base_key and session.remote_identity == envelope.identity
        ]
        return self._decrypt(address, SignalMessage.parse(envelope.message), known or [self._answer(envelope)])

    def _decrypt(self, address: Jid, message: SignalMessage, candidates: list[Session]) -> bytes:
        if not candidates:
            raise NoSessionError("no session with this device")
        failure: DecryptionError | None = None
        for session in candidates:
            attempt = session.copy()
            try:
                plaintext = attempt.decrypt(message)
            except DecryptionError as error:
                if failure is None or isinstance(error, DuplicateMessageError):
                    failure = error
                continue
            self._use(address, attempt)
            return plaintext
        raise failure or DecryptionError("no session opens this message")

    def _use(self, address: Jid, session: Session) -> None:
        """Put a session in front, in the place of its former state."""
        others = [
            known
            for known in self.sessions.get(str(address), [])
            if (known.base_key, known.remote_identity) != (session.base_key, session.remote_identity)
        ]
        self.sessions[str(address)] = [session, *others][:MAX_SESSIONS]

    def _begin(self, bundle: PreKeyBundle) -> Session:
        """X3DH as the one who writes first."""
        signed = bundle.signed_pre_key
        xeddsa.check(bundle.identity, b"\x05" + signed, bundle.signed_pre_key_signature, "the signed pre-key")
        base, ratchet = KeyPair.generate(), KeyPair.generate()
        shared = self.identity.exchange(signed) + base.exchange(bundle.identity) + base.exchange(signed)
        if bundle.pre_key is not None:
            shared += base.exchange(bundle.pre_key)
        first_root, first_chain = _agree(shared)
        root_key, sending_key = ratchet_step(first_root, ratchet, signed)
        return Session(
            local_identity=self.identity.public,
            remote_identity=bundle.identity,
            base_key=base.public,
            root_key=root_key,
            ratchet=ratchet,
            sending=Chain(sending_key),
            receiving=[ReceivingChain(signed, Chain(first_chain))],
            pending=PendingPreKey(base.public, bundle.signed_pre_key_id, bundle.pre_key_id),
        )

    def _answer(self, envelope: PreKeyMessage) -> Session:
        """X3DH as the one who was written to."""
        if envelope.signed_pre_key_id != SIGNED_PRE_KEY_ID:
            raise DecryptionError(f"signed pre-key {envelope.signed_pre_key_id} was never published")
        try:
            shared = (
                self.signed_pre_key.exchange(envelope.identity)
                + self.identity.exchange(envelope.base_key)
                + self.signed_pre_key.exchange(envelope.base_key)
            )
            if envelope.pre_key_id is not None:
                one_time = self.pre_keys.get(envelope.pre_key_id)
                if one_time is None:
                    raise DecryptionError(f"one-time pre-key {envelope.pre_key_id} is not known")
                shared += one_time.exchange(envelope.base_key)
        except InvalidKeyError as error:
            raise DecryptionError(f"pre-key message: {error}") from None
        root_key, chain_key = _agree(shared)
        return Session(
            local_identity=self.identity.public,
            remote_identity=envelope.identity,
            base_key=envelope.base_key,
            root_key=root_key,
            ratchet=self.signed_pre_key,
            sending=Chain(chain_key),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON, bytes as base64; contains private keys."""
        data: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Raises msgspec.ValidationError, which names the field, if it is not what `to_dict` wrote."""
        return msgspec.convert(data, cls, str_keys=True)


def _agree(shared: bytes) -> tuple[bytes, bytes]:
    """Root key and first chain key."""
    okm = hkdf(_X3DH_PREFIX + shared, None, _X3DH_INFO, 64)
    return okm[:32], okm[32:]


def pad(message: bytes) -> bytes:
    """WhatsApp's padding in front of encryption: n bytes of value n, 1 to 15, so that lengths say less."""
    size = 1 + secrets.randbelow(MAX_PADDING)
    return message + bytes([size]) * size


def unpad(padded: bytes) -> bytes:
    """Raises DecryptionError if the padding is not one that `pad` makes."""
    size = padded[-1] if padded else 0
    if not 1 <= size <= min(MAX_PADDING, len(padded)) or padded[-size:] != bytes([size]) * size:
        raise DecryptionError("padding: not n bytes of value n")
    return padded[:-size]
