from __future__ import annotations

import hmac
import json

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec import protobuf
from appliance.staging.crypto import sender_keys, xeddsa
from appliance.staging.crypto.errors import DecryptionError, DuplicateMessageError, NoSessionError
from appliance.staging.crypto.primitives import hkdf
from appliance.staging.crypto.sender_keys import ReceivedSenderKeys, SenderKey

GROUP = "status@broadcast"
SENDER = "1001@lid"


def _receiver(key: SenderKey) -> ReceivedSenderKeys:
    received = ReceivedSenderKeys()
    received.accept(GROUP, SENDER, key.distribution())
    return received


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.data())
def test_any_order_and_repetition(bodies: list[bytes], data: st.DataObject) -> None:
    key = SenderKey.generate()
    received = _receiver(key)
    messages = [key.encrypt(body) for body in bodies]
    for index in data.draw(st.permutations(range(len(bodies)))):
        assert received.decrypt(GROUP, SENDER, messages[index]) == bodies[index]
        received = ReceivedSenderKeys.from_dict(json.loads(json.dumps(received.to_dict())))
        with pytest.raises(DuplicateMessageError):
            received.decrypt(GROUP, SENDER, messages[index])


def test_the_bytes_are_those_of_the_facts() -> None:
    key = SenderKey.generate()
    distribution = protobuf.decode(key.distribution()[1:])
    assert key.distribution()[0] == 0x33
    chain, signing = distribution.bytes(3), distribution.bytes(4)
    assert (distribution.int(1), distribution.int(2), signing[0]) == (key.key_id, 0, 5)
    message = key.encrypt(b"plain")
    body, signature = message[:-64], message[-64:]
    assert xeddsa.verify(signing[1:], body, signature)
    fields = protobuf.decode(body[1:])
    assert (body[0], fields.int(1), fields.int(2), fields.has(2)) == (0x33, key.key_id, 0, True)
    okm = hkdf(hmac.digest(chain, b"\x01", "sha256"), None, b"WhisperGroup", 48)
    decryptor = Cipher(algorithms.AES(okm[16:]), modes.CBC(okm[:16])).decryptor()
    assert decryptor.update(fields.bytes(3)) + decryptor.finalize() == b"plain" + b"\x0b" * 11
    following = protobuf.decode(key.distribution()[1:])
    assert (following.int(2), following.bytes(3)) == (1, hmac.digest(chain, b"\x02", "sha256"))


def test_who_joins_later_reads_only_what_comes_later() -> None:
    key = SenderKey.generate()
    early = key.encrypt(b"early")
    received = _receiver(SenderKey.from_dict(json.loads(json.dumps(key.to_dict()))))
    with pytest.raises(DuplicateMessageError):
        received.decrypt(GROUP, SENDER, early)
    assert received.decrypt(GROUP, SENDER, key.encrypt(b"later")) == b"later"


def test_a_repeated_distribution_does_not_turn_the_chain_back() -> None:
    key = SenderKey.generate()
    first = key.distribution()
    received = _receiver(key)
    message = key.encrypt(b"x")
    received.decrypt(GROUP, SENDER, message)
    received.accept(GROUP, SENDER, first)
    with pytest.raises(DuplicateMessageError):
        received.decrypt(GROUP, SENDER, message)


def test_only_the_newest_keys_of_a_sender_are_kept() -> None:
    keys = [SenderKey.generate() for _ in range(sender_keys.MAX_KEYS + 1)]
    received = ReceivedSenderKeys()
    for key in keys:
        received.accept(GROUP, SENDER, key.distribution())
    with pytest.raises(NoSessionError):
        received.decrypt(GROUP, SENDER, keys[0].encrypt(b"x"))
    assert received.decrypt(GROUP, SENDER, keys[1].encrypt(b"x")) == b"x"
    with pytest.raises(NoSessionError):
        received.decrypt("120363@g.us", SENDER, keys[1].encrypt(b"x"))


@given(st.integers(0, 300), st.integers(0, 7))
def test_a_changed_message_changes_nothing(at: int, bit: int) -> None:
    key = SenderKey.generate()
    received = _receiver(key)
    message = key.encrypt(b"text")
    damaged = bytearray(message)
    damaged[at % len(damaged)] ^= 1 << bit
    with pytest.raises(DecryptionError):
        received.decrypt(GROUP, SENDER, bytes(damaged))
    assert received.decrypt(GROUP, SENDER, message) == b"text"


def test_a_signed_message_that_cannot_be_opened_changes_nothing() -> None:
    key = SenderKey.generate()
    received = _receiver(key)
    body = b"\x33" + protobuf.encode({1: key.key_id, 2: 3, 3: b"not a block"})
    before = received.to_dict()
    with pytest.raises(DecryptionError):
        received.decrypt(GROUP, SENDER, body + xeddsa.sign(key.signing.private, body))
    assert received.to_dict() == before


@given(st.binary(max_size=120))
def test_noise_never_raises_anything_else(data: bytes) -> None:
    received = _receiver(SenderKey.generate())
    for prefix in (b"", b"\x33"):
        with pytest.raises(DecryptionError):
            received.decrypt(GROUP, SENDER, prefix + data)
    with pytest.raises(DecryptionError):
        received.accept(GROUP, SENDER, b"\x33" + data)
