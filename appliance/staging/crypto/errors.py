"""Why a cryptographic step was refused. One root, so that a server can turn any of them into a refusal."""

from __future__ import annotations


class CryptoError(Exception):
    """Root of every refusal of this package."""


class InvalidKeyError(CryptoError):
    """A key has the wrong length, or is one of the points that make every shared secret zero."""


class HandshakeError(CryptoError):
    """The Noise handshake cannot go on."""


class BadSignatureError(CryptoError):
    """A signature does not belong to the key and the bytes."""


class WrongCodeError(CryptoError):
    """The linking code that was typed is not the one the companion shows."""


class DecryptionError(CryptoError):
    """Nothing we hold opens this message: wrong key, or changed on the way."""


class DuplicateMessageError(DecryptionError):
    """The key of this message was used already: the message came before."""


class NoSessionError(DecryptionError):
    """There is no session with this device: fetch its bundle to send, ask it to retry to receive."""
