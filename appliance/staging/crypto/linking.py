"""Linking a companion device, from the phone's side: the flow with a code, the QR code, and the signed device identity
with which either of them ends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from appliance.staging.codec import protobuf
from appliance.staging.crypto import xeddsa
from appliance.staging.crypto.errors import BadSignatureError, CryptoError, DecryptionError, WrongCodeError
from appliance.staging.crypto.keys import KEY_SIZE, KeyPair
from appliance.staging.crypto.primitives import ctr, equal, gcm_decrypt, hkdf, hmac_sha256

CODE_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
"""Crockford's base 32 with 0 left out: no letters that look like digits."""
CODE_LENGTH: Final = 8
PBKDF2_ROUNDS: Final = 2 << 16
"""About 25 ms on a small server: call the functions that take a code outside of an event loop's thread."""

_SALT_SIZE: Final = 32
_IV_SIZE: Final = 16
_GCM_NONCE_SIZE: Final = 12
WRAPPED_SIZE: Final = _SALT_SIZE + _IV_SIZE + KEY_SIZE
"""Salt, IV and the encrypted public key."""
BUNDLE_SIZE: Final = _SALT_SIZE + _GCM_NONCE_SIZE + 3 * KEY_SIZE + 16
"""Salt, nonce, three encrypted keys and the tag."""

BUNDLE_INFO: Final = b"link_code_pairing_key_bundle_encryption_key"
ADV_SECRET_INFO: Final = b"adv_secret"

_ACCOUNT_SIGNATURE: Final = b"\x06\x00"
_DEVICE_SIGNATURE: Final = b"\x06\x01"
"""What a signature is about, in front of what it signs."""

QR_PREFIX: Final = "https://wa.me/settings/linked_devices#"


def normalise_code(text: str) -> str:
    """The code as the client made it, without the dash. Raises WrongCodeError if no client can have shown it."""
    code = text.strip().upper().replace("-", "").replace(" ", "")
    if len(code) != CODE_LENGTH or any(char not in CODE_ALPHABET for char in code):
        raise WrongCodeError(f"code: {CODE_LENGTH} characters of {CODE_ALPHABET}, like ABCD-EFGH")
    return code


def wrap_ephemeral(code: str, public: bytes) -> bytes:
    """Encrypt an ephemeral public key with the code, as either side does."""
    salt, iv = secrets.token_bytes(_SALT_SIZE), secrets.token_bytes(_IV_SIZE)
    return salt + iv + ctr(_code_key(code, salt), iv, public)


def unwrap_ephemeral(code: str, wrapped: bytes) -> bytes:
    """The other side's ephemeral key. A wrong code is not noticed here: it gives another key."""
    if len(wrapped) != WRAPPED_SIZE:
        raise CryptoError(f"wrapped ephemeral key of {len(wrapped)} bytes, not {WRAPPED_SIZE}")
    salt, iv, encrypted = wrapped[:_SALT_SIZE], wrapped[_SALT_SIZE:-KEY_SIZE], wrapped[-KEY_SIZE:]
    return ctr(_code_key(code, salt), iv, encrypted)


def _code_key(code: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", normalise_code(code).encode(), salt, PBKDF2_ROUNDS, KEY_SIZE)


class CodeLink:
    """One attempt on the phone: somebody typed the code that the companion shows.

    Send `wrapped_ephemeral` in primary_hello; what comes back in companion_finish goes to `finish`.
    """

    def __init__(self, code: str, companion_wrapped: bytes, identity: KeyPair) -> None:
        """`identity` is the account's. Raises WrongCodeError, CryptoError. Takes two times PBKDF2."""
        self._identity = identity
        self._ephemeral = KeyPair.generate()
        self._companion_ephemeral = unwrap_ephemeral(code, companion_wrapped)
        self.wrapped_ephemeral = wrap_ephemeral(code, self._ephemeral.public)

    def finish(self, bundle: bytes, companion_identity: bytes) -> bytes:
        """Open the companion's key bundle: the ADV secret. Raises WrongCodeError if another code was typed."""
        if len(bundle) != BUNDLE_SIZE:
            raise CryptoError(f"key bundle of {len(bundle)} bytes, not {BUNDLE_SIZE}")
        salt, nonce, sealed = (
            bundle[:_SALT_SIZE],
            bundle[_SALT_SIZE : _SALT_SIZE + _GCM_NONCE_SIZE],
            bundle[_SALT_SIZE + _GCM_NONCE_SIZE :],
        )
        shared = self._ephemeral.exchange(self._companion_ephemeral)
        try:
            keys = gcm_decrypt(hkdf(shared, salt, BUNDLE_INFO, 32), nonce, sealed)
        except DecryptionError:
            raise WrongCodeError("code: not the one that the companion shows") from None
        named_companion, named_primary, random = keys[:32], keys[32:64], keys[64:]
        if not equal(named_companion, companion_identity) or not equal(named_primary, self._identity.public):
            raise CryptoError("the key bundle names other identities than the two that are being linked")
        secret = shared + self._identity.exchange(companion_identity) + random
        return hkdf(secret, None, ADV_SECRET_INFO, 32)


@dataclass(frozen=True, slots=True)
class QrCode:
    """What a companion shows as a QR code. Its ADV secret is ready to use."""

    ref: str
    noise_public: bytes
    identity: bytes
    adv_secret: bytes = field(repr=False)
    client_type: str = ""

    @classmethod
    def parse(cls, text: str) -> QrCode:
        """Read the text of the QR code. Raises ValueError naming the part that is wrong."""
        parts = text.removeprefix(QR_PREFIX).split(",")
        if len(parts) != 5 or not parts[0]:
            raise ValueError("qr: five parts expected, ref,noise key,identity,secret,client type")
        noise, identity, secret = (
            _qr_key(name, part) for name, part in zip(("noise key", "identity", "secret"), parts[1:4], strict=True)
        )
        return cls(parts[0], noise, identity, secret, parts[4])


def _qr_key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_SIZE:
        raise ValueError(f"qr: {name} is not {KEY_SIZE} bytes in base64")
    return key


def sign_device_identity(
    account: KeyPair, companion_identity: bytes, *, raw_id: int, timestamp: int, key_index: int
) -> bytes:
    """ADVSignedDeviceIdentity: the account vouches for the companion. `timestamp` in seconds."""
    details = protobuf.encode({1: raw_id, 2: timestamp, 3: key_index, 4: 0, 5: 0})
    signature = xeddsa.sign(account.private, _ACCOUNT_SIGNATURE + details + companion_identity)
    return protobuf.encode({1: details, 2: account.public, 3: signature})


def seal_device_identity(adv_secret: bytes, signed: bytes) -> bytes:
    """ADVSignedDeviceIdentityHMAC: what pair-success carries."""
    return protobuf.encode({1: signed, 2: hmac_sha256(adv_secret, signed)})


def check_device_identity(signed: bytes, account_public: bytes, companion_identity: bytes) -> bytes:
    """Check an ADVSignedDeviceIdentity that the companion signed too; the answer is its details.

    The companion sends it in pair-device-sign (without the account's key) and with every pre-key message (with it).
    Raises BadSignatureError, DecodeError.
    """
    identity = protobuf.decode(signed)
    if identity.has(2) and not equal(identity.bytes(2), account_public):
        raise BadSignatureError("device identity names the key of another account")
    details = identity.bytes(1)
    xeddsa.check(
        account_public, _ACCOUNT_SIGNATURE + details + companion_identity, identity.bytes(3), "the account (ADV)"
    )
    xeddsa.check(
        companion_identity,
        _DEVICE_SIGNATURE + details + companion_identity + account_public,
        identity.bytes(4),
        "the device (ADV)",
    )
    return details
