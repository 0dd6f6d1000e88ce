"""Noise_XX_25519_AESGCM_SHA256, the handshake under every connection, as the server (responder) and, for tests, as the
client (initiator). Frames come and go without their three bytes of length.
"""

from __future__ import annotations

from typing import Final

from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.crypto.errors import DecryptionError, HandshakeError, InvalidKeyError
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.crypto.primitives import gcm_decrypt, gcm_encrypt, hkdf, sha256

PROTOCOL_NAME: Final = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
"""Exactly as long as a hash, so that it is not hashed (Noise specification, section 5.2)."""
CONNECTION_HEADER: Final = b"WA\x06\x03"
"""First bytes of every connection: the protocol's version and the dictionary's. The prologue of the handshake."""

_NONCE_PREFIX: Final = bytes(8)
_CLIENT_HELLO: Final = 2
_SERVER_HELLO: Final = 3
_CLIENT_FINISH: Final = 4
"""Fields of HandshakeMessage."""


class _Symmetric:
    """Noise's SymmetricState: a running hash, and a key that every exchange renews."""

    def __init__(self) -> None:
        self._hash = self._salt = self._key = PROTOCOL_NAME
        self._counter = 0
        self.authenticate(CONNECTION_HEADER)

    def authenticate(self, data: bytes) -> None:
        self._hash = sha256(self._hash + data)

    def mix(self, secret: bytes) -> None:
        okm = hkdf(secret, self._salt, b"", 64)
        self._salt, self._key = okm[:32], okm[32:]
        self._counter = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = gcm_encrypt(self._key, _nonce(self._counter), plaintext, self._hash)
        self._counter += 1
        self.authenticate(ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        plaintext = gcm_decrypt(self._key, _nonce(self._counter), ciphertext, self._hash)
        self._counter += 1
        self.authenticate(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Keys from the initiator to the responder, and back."""
        okm = hkdf(b"", self._salt, b"", 64)
        return okm[:32], okm[32:]


def _nonce(counter: int) -> bytes:
    return _NONCE_PREFIX + counter.to_bytes(4)


class Transport:
    """The frames after the handshake: one key and one counter each way."""

    def __init__(self, send_key: bytes, receive_key: bytes) -> None:
        self._send_key = send_key
        self._receive_key = receive_key
        self._sent = 0
        self._received = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = gcm_encrypt(self._send_key, _nonce(self._sent), plaintext)
        self._sent += 1
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Raises DecryptionError; frames must come in the order in which they were sent."""
        plaintext = gcm_decrypt(self._receive_key, _nonce(self._received), ciphertext)
        self._received += 1
        return plaintext


class NoiseResponder:
    """The server's side: `receive_hello`, `receive_finish`, `split`, in this order.

    Every step raises HandshakeError if the client's frame cannot be accepted.
    """

    def __init__(self, static: KeyPair, cert_chain: bytes, ephemeral: KeyPair | None = None) -> None:
        """`cert_chain` proves `static` (see certificates.noise_chain); `ephemeral` is for known answers only."""
        self._static = static
        self._cert_chain = cert_chain
        self._ephemeral = KeyPair.generate() if ephemeral is None else ephemeral
        self._state = _Symmetric()

    def receive_hello(self, frame: bytes) -> bytes:
        """Take the ClientHello; the answer is the frame with the ServerHello."""
        try:
            client_ephemeral = protobuf.decode(frame).message(_CLIENT_HELLO).bytes(1)
            self._state.authenticate(client_ephemeral)
            self._state.authenticate(self._ephemeral.public)
            self._state.mix(self._ephemeral.exchange(client_ephemeral))
            static = self._state.encrypt(self._static.public)
            self._state.mix(self._static.exchange(client_ephemeral))
        except (DecodeError, InvalidKeyError) as error:
            raise HandshakeError(f"ClientHello: {error}") from None
        payload = self._state.encrypt(self._cert_chain)
        return protobuf.encode({_SERVER_HELLO: {1: self._ephemeral.public, 2: static, 3: payload}})

    def receive_finish(self, frame: bytes) -> tuple[bytes, bytes]:
        """Take the ClientFinish: the client's static public key and its ClientPayload."""
        try:
            finish = protobuf.decode(frame).message(_CLIENT_FINISH)
            client_static = self._state.decrypt(finish.bytes(1))
            self._state.mix(self._ephemeral.exchange(client_static))
            return client_static, self._state.decrypt(finish.bytes(2))
        except (DecodeError, InvalidKeyError, DecryptionError) as error:
            raise HandshakeError(f"ClientFinish: {error}") from None

    def split(self) -> Transport:
        from_client, to_client = self._state.split()
        return Transport(send_key=to_client, receive_key=from_client)


class NoiseInitiator:
    """The client's side, as a counterpart for tests."""

    def __init__(self, static: KeyPair, ephemeral: KeyPair | None = None) -> None:
        self._static = static
        self._ephemeral = KeyPair.generate() if ephemeral is None else ephemeral
        self._state = _Symmetric()
        self._server_ephemeral = b""

    def hello(self) -> bytes:
        self._state.authenticate(self._ephemeral.public)
        return protobuf.encode({_CLIENT_HELLO: {1: self._ephemeral.public}})

    def receive_hello(self, frame: bytes) -> tuple[bytes, bytes]:
        """Take the ServerHello: the server's static public key and its certificate chain."""
        try:
            hello = protobuf.decode(frame).message(_SERVER_HELLO)
            self._server_ephemeral = hello.bytes(1)
            self._state.authenticate(self._server_ephemeral)
            self._state.mix(self._ephemeral.exchange(self._server_ephemeral))
            server_static = self._state.decrypt(hello.bytes(2))
            self._state.mix(self._ephemeral.exchange(server_static))
            return server_static, self._state.decrypt(hello.bytes(3))
        except (DecodeError, InvalidKeyError, DecryptionError) as error:
            raise HandshakeError(f"ServerHello: {error}") from None

    def finish(self, payload: bytes) -> bytes:
        static = self._state.encrypt(self._static.public)
        self._state.mix(self._static.exchange(self._server_ephemeral))
        return protobuf.encode({_CLIENT_FINISH: {1: static, 2: self._state.encrypt(payload)}})

    def split(self) -> Transport:
        to_server, from_server = self._state.split()
        return Transport(send_key=to_server, receive_key=from_server)
