from __future__ import annotations

import hmac
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec import protobuf
from appliance.staging.codec.jid import LID, Jid
from appliance.staging.crypto import ratchet, signal, xeddsa
from appliance.staging.crypto.errors import (
    BadSignatureError,
    DecryptionError,
    DuplicateMessageError,
    InvalidKeyError,
    NoSessionError,
)
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.crypto.signal import Endpoint, MessageType, PreKeyMessage, pad, unpad

ALICE = Jid("1001", LID)
BOB = Jid("2002", LID, 1)


def _pair() -> tuple[Endpoint, Endpoint]:
    """Alice and Bob, with a session that both have used."""
    alice, bob = Endpoint.generate(), Endpoint.generate()
    assert bob.decrypt(ALICE, *alice.encrypt(BOB, bob.bundle(), b"hello")) == b"hello"
    assert alice.decrypt(BOB, *bob.encrypt(ALICE, None, b"hi")) == b"hi"
    return alice, bob


def _saved(endpoint: Endpoint) -> Endpoint:
    return Endpoint.from_dict(json.loads(json.dumps(endpoint.to_dict())))


actions = st.lists(
    st.tuples(st.sampled_from(["alice", "bob", "deliver", "repeat", "drop", "restart"]), st.integers(0, 20)),
    max_size=14,
)


@given(actions, st.booleans())
def test_loss_reorder_and_repetition(script: list[tuple[str, int]], one_time: bool) -> None:
    """Whatever the network does, each message is read once and unchanged. 14 steps cannot outrun the kept chains."""
    ends = {"alice": Endpoint.generate(), "bob": Endpoint.generate()}
    address = {"alice": ALICE, "bob": BOB}
    other = {"alice": "bob", "bob": "alice"}
    waiting: list[tuple[str, MessageType, bytes, bytes]] = []
    read: list[tuple[str, MessageType, bytes, bytes]] = []
    heard: set[str] = set()
    for count, (action, number) in enumerate([("alice", 0), *script]):
        if action in ends:
            to = address[other[action]]
            if action == "bob" and not ends["bob"].has_session(ALICE):
                continue
            bundle = ends["bob"].bundle(one_time=one_time) if not ends[action].has_session(to) else None
            body = b"%d from %s" % (count, action.encode())
            kind, message = ends[action].encrypt(to, bundle, body)
            assert (kind == MessageType.PKMSG) == (action == "alice" and "alice" not in heard)
            waiting.append((other[action], kind, message, body))
        elif action == "restart":
            ends = {name: _saved(end) for name, end in ends.items()}
        elif action == "repeat" and read:
            receiver, kind, message, _ = read[number % len(read)]
            with pytest.raises(DuplicateMessageError):
                ends[receiver].decrypt(address[other[receiver]], kind, message)
        elif action in {"deliver", "drop"} and waiting:
            item = waiting.pop(number % len(waiting))
            if action == "deliver":
                receiver, kind, message, body = item
                assert ends[receiver].decrypt(address[other[receiver]], kind, message) == body
                heard.add(receiver)
                read.append(item)


def _expand(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF with nothing but HMAC (RFC 5869, section 2)."""
    key, okm, block = hmac.digest(salt, secret, "sha256"), b"", b""
    while len(okm) < length:
        block = hmac.digest(key, block + info + bytes([len(okm) // 32 + 1]), "sha256")
        okm += block
    return okm[:length]


def test_the_first_message_is_what_the_specification_says() -> None:
    """Opened by hand with Bob's private keys: X3DH, one ratchet step, keys, MAC, plaintext."""
    alice, bob = Endpoint.generate(), Endpoint.generate()
    kind, data = alice.encrypt(BOB, bob.bundle(), b"plain")
    assert (kind, data[0]) == ("pkmsg", 0x33)
    outer = protobuf.decode(data[1:])
    assert (outer.int(5), outer.int(6), outer.bytes(3)) == (alice.registration_id, 1, b"\x05" + alice.identity.public)
    base, inner = outer.bytes(2)[1:], outer.bytes(4)
    one_time = bob.pre_keys[outer.int(1)]
    secret = (
        b"\xff" * 32
        + bob.signed_pre_key.exchange(alice.identity.public)
        + bob.identity.exchange(base)
        + bob.signed_pre_key.exchange(base)
        + one_time.exchange(base)
    )
    root = _expand(secret, bytes(32), b"WhisperText", 64)[:32]
    body, mac = inner[:-8], inner[-8:]
    fields = protobuf.decode(body[1:])
    chain = _expand(bob.signed_pre_key.exchange(fields.bytes(1)[1:]), root, b"WhisperRatchet", 64)[32:]
    keys = _expand(hmac.digest(chain, b"\x01", "sha256"), bytes(32), b"WhisperMessageKeys", 80)
    named = b"\x05" + alice.identity.public + b"\x05" + bob.identity.public
    assert hmac.digest(keys[32:64], named + body, "sha256")[:8] == mac
    decryptor = Cipher(algorithms.AES(keys[:32]), modes.CBC(keys[64:])).decryptor()
    assert decryptor.update(fields.bytes(4)) + decryptor.finalize() == b"plain" + b"\x0b" * 11
    assert (body[0], fields.int(2), fields.has(3), fields.int(3)) == (0x33, 0, True, 0)


def test_an_unanswered_session_keeps_its_base_key_and_counts() -> None:
    alice, bob = Endpoint.generate(), Endpoint.generate()
    bundle = bob.bundle()
    sent = [alice.encrypt(BOB, bundle if n == 0 else None, b"%d" % n) for n in range(3)]
    parsed = [PreKeyMessage.parse(data) for _, data in sent]
    assert {kind for kind, _ in sent} == {MessageType.PKMSG}
    assert len({(message.base_key, message.pre_key_id) for message in parsed}) == 1
    assert [ratchet.SignalMessage.parse(message.message).counter for message in parsed] == [0, 1, 2]
    assert parsed[0].registration_id == alice.registration_id
    assert parsed[0].identity == alice.identity.public


def test_two_first_messages_may_share_a_one_time_key() -> None:
    """A client that is told of a device twice does this (note to self)."""
    alice, bob = Endpoint.generate(), Endpoint.generate()
    bundle = bob.bundle()
    first, second = alice.encrypt(BOB, bundle, b"1"), alice.encrypt(BOB, bundle, b"2")
    assert PreKeyMessage.parse(first[1]).base_key != PreKeyMessage.parse(second[1]).base_key
    assert bob.decrypt(ALICE, *second) == b"2"
    assert bob.decrypt(ALICE, *first) == b"1"


def test_both_write_first_at_the_same_time() -> None:
    alice, bob = Endpoint.generate(), Endpoint.generate()
    from_alice = alice.encrypt(BOB, bob.bundle(), b"a")
    from_bob = bob.encrypt(ALICE, alice.bundle(), b"b")
    assert bob.decrypt(ALICE, *from_alice) == b"a"
    assert alice.decrypt(BOB, *from_bob) == b"b"
    for n in range(4):
        assert bob.decrypt(ALICE, *alice.encrypt(BOB, None, b"%d" % n)) == b"%d" % n
        assert alice.decrypt(BOB, *bob.encrypt(ALICE, None, b"%d" % n)) == b"%d" % n


def test_a_message_of_an_older_session_makes_it_the_one_in_use() -> None:
    alice, bob = _pair()
    late = alice.encrypt(BOB, None, b"late")
    assert bob.decrypt(ALICE, *alice.encrypt(BOB, bob.bundle(), b"new session")) == b"new session"
    assert bob.decrypt(ALICE, *late) == b"late"
    assert len(bob.sessions[str(ALICE)]) == 2
    kind, message = bob.encrypt(ALICE, None, b"answer")
    assert kind == MessageType.MSG
    assert alice.decrypt(BOB, kind, message) == b"answer"
    assert alice.encrypt(BOB, None, b"x")[0] == MessageType.MSG


def test_sessions_of_a_device_are_bounded() -> None:
    alice, bob = Endpoint.generate(), Endpoint.generate()
    for _ in range(signal.MAX_SESSIONS + 2):
        bob.decrypt(ALICE, *alice.encrypt(BOB, bob.bundle(one_time=False), b"x"))
    assert len(alice.sessions[str(BOB)]) == len(bob.sessions[str(ALICE)]) == signal.MAX_SESSIONS


def test_one_time_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "MAX_PRE_KEYS", 3)
    monkeypatch.setattr(signal, "PRE_KEY_ID_LIMIT", 4)
    bob = Endpoint.generate()
    assert [bob.bundle().pre_key_id for _ in range(6)] == [1, 2, 3, 4, 1, 2]
    assert list(bob.pre_keys) == [4, 1, 2]


@given(st.integers(0, 200), st.integers(0, 7))
def test_a_changed_message_changes_nothing(at: int, bit: int) -> None:
    alice, bob = _pair()
    kind, message = alice.encrypt(BOB, None, b"text")
    damaged = bytearray(message)
    damaged[at % len(damaged)] ^= 1 << bit
    before = bob.to_dict()
    with pytest.raises(DecryptionError):
        bob.decrypt(ALICE, kind, bytes(damaged))
    assert bob.to_dict() == before
    assert bob.decrypt(ALICE, kind, message) == b"text"


@given(st.binary(max_size=80), st.sampled_from(["msg", "pkmsg", "skmsg", ""]))
def test_noise_never_raises_anything_else(data: bytes, kind: str) -> None:
    for prefix in (b"", b"\x33"):
        with pytest.raises(DecryptionError):
            Endpoint.generate().decrypt(ALICE, kind, prefix + data)


def _envelope(endpoint: Endpoint, changes: dict[int, protobuf.Value]) -> bytes:
    _, data = Endpoint.generate().encrypt(BOB, endpoint.bundle(), b"x")
    outer = protobuf.decode(data[1:])
    return b"\x33" + protobuf.encode({**{number: outer.all(number)[0] for number in outer.numbers()}, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({1: 99}, "one-time pre-key 99"),
        ({6: 2}, "signed pre-key 2"),
        ({2: b"\x05" + bytes(32)}, "refused by X25519"),
        ({3: bytes(33)}, "type prefix"),
        ({4: b"\x33"}, "message"),
    ],
)
def test_a_bad_envelope_is_named(changes: dict[int, protobuf.Value], reason: str) -> None:
    bob = Endpoint.generate()
    with pytest.raises(DecryptionError, match=reason):
        bob.decrypt(ALICE, "pkmsg", _envelope(bob, changes))
    assert not bob.has_session(ALICE)


def test_jumps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, "MAX_SKIPPED", 5)
    alice, bob = _pair()
    messages = [alice.encrypt(BOB, None, b"%d" % n) for n in range(9)]
    with pytest.raises(DecryptionError, match="more than 5 ahead"):
        bob.decrypt(ALICE, *messages[6])
    assert bob.decrypt(ALICE, *messages[5]) == b"5"
    assert bob.decrypt(ALICE, *messages[8]) == b"8"
    with pytest.raises(DuplicateMessageError):  # its key was the oldest of seven that were kept for later
        bob.decrypt(ALICE, *messages[0])
    assert bob.decrypt(ALICE, *messages[7]) == b"7"


def test_only_the_newest_chains_are_kept() -> None:
    alice, bob = _pair()
    late = alice.encrypt(BOB, None, b"late")
    for _ in range(ratchet.MAX_RECEIVING_CHAINS + 1):
        bob.decrypt(ALICE, *alice.encrypt(BOB, None, b"x"))
        alice.decrypt(BOB, *bob.encrypt(ALICE, None, b"y"))
    with pytest.raises(DecryptionError):
        bob.decrypt(ALICE, *late)
    assert bob.decrypt(ALICE, *alice.encrypt(BOB, None, b"z")) == b"z"


def test_without_a_session_or_with_a_bad_bundle_nothing_is_sent() -> None:
    alice, bob = _pair()
    with pytest.raises(NoSessionError):
        alice.encrypt(Jid("3", LID), None, b"x")
    with pytest.raises(NoSessionError):
        alice.decrypt(Jid("3", LID), *bob.encrypt(ALICE, None, b"x"))
    with pytest.raises(BadSignatureError):
        alice.encrypt(BOB, msgspec.structs.replace(bob.bundle(), identity=KeyPair.generate().public), b"x")
    with pytest.raises(InvalidKeyError):
        alice.encrypt(BOB, msgspec.structs.replace(bob.bundle(), pre_key=bytes(32)), b"x")
    alice.forget(BOB)
    assert not alice.has_session(BOB)


def test_a_generated_endpoint_publishes_what_a_client_accepts() -> None:
    identity = KeyPair.generate()
    endpoint = Endpoint.generate(identity)
    bundle = endpoint.bundle(one_time=False)
    assert bundle.identity == identity.public
    assert 1 <= bundle.registration_id <= 16380
    assert (bundle.signed_pre_key_id, bundle.pre_key_id, bundle.pre_key) == (1, None, None)
    assert xeddsa.verify(identity.public, b"\x05" + bundle.signed_pre_key, bundle.signed_pre_key_signature)


def test_a_broken_file_names_the_field() -> None:
    data = Endpoint.generate().to_dict()
    data["registration_id"] = "many"
    with pytest.raises(msgspec.ValidationError, match="registration_id"):
        Endpoint.from_dict(data)


@given(st.binary(max_size=40))
def test_padding_comes_off(message: bytes) -> None:
    padded = pad(message)
    assert 1 <= len(padded) - len(message) <= 15
    assert unpad(padded) == message


@pytest.mark.parametrize("padded", [b"", b"\x00", b"ab\x03", b"\x02", b"x\x01\x02", b"\x10" * 16])
def test_bad_padding_is_refused(padded: bytes) -> None:
    with pytest.raises(DecryptionError, match="padding"):
        unpad(padded)
