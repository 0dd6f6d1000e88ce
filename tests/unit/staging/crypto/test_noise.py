from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec import protobuf
from appliance.staging.crypto.errors import DecryptionError, HandshakeError
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.crypto.noise import NoiseInitiator, NoiseResponder, Transport

CHAIN = b"certificate chain"
PAYLOAD = b"client payload"


def _connect() -> tuple[Transport, Transport, bytes]:
    server, client = KeyPair.generate(), KeyPair.generate()
    responder, initiator = NoiseResponder(server, CHAIN), NoiseInitiator(client)
    assert initiator.receive_hello(responder.receive_hello(initiator.hello())) == (server.public, CHAIN)
    named, payload = responder.receive_finish(initiator.finish(PAYLOAD))
    assert named == client.public
    return responder.split(), initiator.split(), payload


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=100)), max_size=6))
def test_both_sides_understand_each_other(frames: list[tuple[bool, bytes]]) -> None:
    server, client, payload = _connect()
    assert payload == PAYLOAD
    for from_server, frame in frames:
        sender, receiver = (server, client) if from_server else (client, server)
        assert receiver.decrypt(sender.encrypt(frame)) == frame


def test_a_frame_out_of_order_or_changed_is_refused() -> None:
    server, client, _ = _connect()
    first, second = client.encrypt(b"1"), client.encrypt(b"2")
    with pytest.raises(DecryptionError):
        server.decrypt(second)
    assert server.decrypt(first) == b"1"
    with pytest.raises(DecryptionError):
        server.decrypt(first)
    with pytest.raises(DecryptionError):
        server.decrypt(second[:-1])


def _expand(secret: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """HKDF as the Noise specification writes it (section 4.3), with nothing but HMAC."""
    key = hmac.digest(salt, secret, "sha256")
    one = hmac.digest(key, b"\x01", "sha256")
    return one, hmac.digest(key, one + b"\x02", "sha256")


def test_the_handshake_is_that_of_the_specification() -> None:
    """Every byte of the ServerHello, and the transport keys, computed here a second time from hashes alone."""
    server, server_e, client, client_e = (KeyPair.from_private(bytes([n]) * 32) for n in (1, 2, 3, 4))

    def digest(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    h = digest(b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0" + b"WA\x06\x03")
    h = digest(h + client_e.public)
    h = digest(h + server_e.public)
    ck, k = _expand(server_e.exchange(client_e.public), b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0")
    static = AESGCM(k).encrypt(bytes(12), server.public, h)
    h = digest(h + static)
    ck, k = _expand(server.exchange(client_e.public), ck)
    payload = AESGCM(k).encrypt(bytes(12), CHAIN, h)

    responder, initiator = NoiseResponder(server, CHAIN, server_e), NoiseInitiator(client, client_e)
    hello = initiator.hello()
    assert hello == b"\x12\x22\x0a\x20" + client_e.public
    answer = responder.receive_hello(hello)
    fields = protobuf.decode(answer).message(3)
    assert (fields.bytes(1), fields.bytes(2), fields.bytes(3)) == (server_e.public, static, payload)

    h = digest(h + payload)
    finish_static = AESGCM(k).encrypt(bytes(11) + b"\x01", client.public, h)
    h = digest(h + finish_static)
    ck, k = _expand(client.exchange(server_e.public), ck)
    finish_payload = AESGCM(k).encrypt(bytes(12), PAYLOAD, h)
    finish = protobuf.encode({4: {1: finish_static, 2: finish_payload}})
    assert responder.receive_finish(finish) == (client.public, PAYLOAD)

    from_client, to_client = _expand(b"", ck)
    transport = responder.split()
    assert transport.encrypt(b"hi") == AESGCM(to_client).encrypt(bytes(12), b"hi", b"")
    assert transport.decrypt(AESGCM(from_client).encrypt(bytes(12), b"ho", b"")) == b"ho"


@given(st.binary(max_size=120))
def test_noise_instead_of_a_hello_is_a_handshake_error(frame: bytes) -> None:
    with pytest.raises(HandshakeError):
        NoiseResponder(KeyPair.generate(), CHAIN).receive_hello(frame)


@pytest.mark.parametrize("frame", [b"", b"\xff", b"\x12\x22\x0a\x20" + bytes(32), protobuf.encode({4: {1: b"x"}})])
def test_a_bad_frame_is_named(frame: bytes) -> None:
    responder = NoiseResponder(KeyPair.generate(), CHAIN)
    with pytest.raises(HandshakeError, match="ClientHello"):
        responder.receive_hello(frame)
    initiator = NoiseInitiator(KeyPair.generate())
    with pytest.raises(HandshakeError, match="ServerHello"):
        initiator.receive_hello(frame)
    fresh = NoiseResponder(KeyPair.generate(), CHAIN)
    fresh.receive_hello(NoiseInitiator(KeyPair.generate()).hello())
    with pytest.raises(HandshakeError, match="ClientFinish"):
        fresh.receive_finish(frame)
