from __future__ import annotations

import base64
import hashlib
import hmac
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.crypto import linking, xeddsa
from appliance.staging.crypto.errors import BadSignatureError, CryptoError, WrongCodeError
from appliance.staging.crypto.keys import KeyPair
from appliance.staging.crypto.linking import CodeLink, QrCode
from appliance.staging.crypto.primitives import ctr, hkdf

CODE = "ABCD-EFGH"


class Companion:
    """The other side of the flow, as the facts describe it."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.identity = KeyPair.generate()
        self.ephemeral = KeyPair.generate()
        self.wrapped = linking.wrap_ephemeral(code, self.ephemeral.public)

    def bundle(
        self, wrapped_primary: bytes, primary_identity: bytes, named: bytes | None = None
    ) -> tuple[bytes, bytes]:
        shared = self.ephemeral.exchange(linking.unwrap_ephemeral(self.code, wrapped_primary))
        salt, nonce, random = os.urandom(32), os.urandom(12), os.urandom(32)
        plain = (named or self.identity.public) + primary_identity + random
        sealed = AESGCM(hkdf(shared, salt, b"link_code_pairing_key_bundle_encryption_key", 32)).encrypt(
            nonce, plain, b""
        )
        secret = hkdf(shared + self.identity.exchange(primary_identity) + random, None, b"adv_secret", 32)
        return salt + nonce + sealed, secret


def test_the_right_code_gives_both_the_same_secret() -> None:
    companion, account = Companion("ABCDEFGH"), KeyPair.generate()
    link = CodeLink(" abcd-efgh ", companion.wrapped, account)
    bundle, secret = companion.bundle(link.wrapped_ephemeral, account.public)
    assert (len(companion.wrapped), len(bundle)) == (80, 156)
    assert link.finish(bundle, companion.identity.public) == secret


def test_a_wrong_code_is_told_apart() -> None:
    companion, account = Companion(CODE), KeyPair.generate()
    link = CodeLink("ABCD-EFGJ", companion.wrapped, account)
    bundle, _ = companion.bundle(link.wrapped_ephemeral, account.public)
    with pytest.raises(WrongCodeError):
        link.finish(bundle, companion.identity.public)


def test_a_bundle_about_somebody_else_is_refused() -> None:
    companion, account = Companion(CODE), KeyPair.generate()
    link = CodeLink(CODE, companion.wrapped, account)
    bundle, _ = companion.bundle(link.wrapped_ephemeral, account.public, named=KeyPair.generate().public)
    with pytest.raises(CryptoError, match="identities"):
        link.finish(bundle, companion.identity.public)
    with pytest.raises(CryptoError, match="155"):
        link.finish(bundle[:-1], companion.identity.public)
    with pytest.raises(CryptoError, match="79"):
        CodeLink(CODE, companion.wrapped[:-1], account)


def test_the_code_is_stretched_with_pbkdf2() -> None:
    wrapped = linking.wrap_ephemeral(CODE, b"p" * 32)
    key = hashlib.pbkdf2_hmac("sha256", b"ABCDEFGH", wrapped[:32], 131072, 32)
    assert ctr(key, wrapped[32:48], wrapped[48:]) == b"p" * 32


@pytest.mark.parametrize(
    "code", ["", "ABCD-EFG", "ABCD-EFGHJ", "ABCD-EFG0", "ABCD-EFGI", "ABCD-EFGO", "ABCD-EFGU", "äbcd-efgh"]
)
def test_what_no_client_shows_is_refused_at_once(code: str) -> None:
    with pytest.raises(WrongCodeError, match="ABCD-EFGH"):
        linking.normalise_code(code)


def _qr(*parts: bytes) -> str:
    return ",".join(base64.b64encode(part).decode() for part in parts)


def test_a_qr_code_is_read_with_and_without_its_address() -> None:
    text = f"2@ref,{_qr(b'n' * 32, b'i' * 32, b's' * 32)},6"
    expected = QrCode("2@ref", b"n" * 32, b"i" * 32, b"s" * 32, "6")
    assert QrCode.parse(text) == expected
    assert QrCode.parse("https://wa.me/settings/linked_devices#" + text) == expected
    assert "s" * 32 not in repr(expected)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "five parts"),
        (f",{_qr(b'n' * 32, b'i' * 32, b's' * 32)},6", "five parts"),
        (f"ref,{_qr(b'n' * 31, b'i' * 32, b's' * 32)},6", "noise key"),
        (f"ref,{_qr(b'n' * 32)},***,{_qr(b's' * 32)},6", "identity"),
        (f"ref,{_qr(b'n' * 32, b'i' * 32, b's' * 33)},6", "secret"),
    ],
)
def test_a_bad_qr_code_is_named(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        QrCode.parse(text)


def _signed_by_both(account: KeyPair, companion: KeyPair, *, with_key: bool) -> bytes:
    signed = linking.sign_device_identity(account, companion.public, raw_id=7, timestamp=1700000000, key_index=1)
    fields = protobuf.decode(signed)
    signature = xeddsa.sign(companion.private, b"\x06\x01" + fields.bytes(1) + companion.public + account.public)
    key: protobuf.Message = {2: account.public} if with_key else {}
    return protobuf.encode({1: fields.bytes(1), **key, 3: fields.bytes(3), 4: signature})


def test_a_device_identity_is_what_a_companion_checks() -> None:
    account, companion = KeyPair.generate(), KeyPair.generate()
    signed = linking.sign_device_identity(account, companion.public, raw_id=7, timestamp=1700000000, key_index=3)
    sealed = protobuf.decode(linking.seal_device_identity(b"s" * 32, signed))
    assert sealed.bytes(1) == signed
    assert sealed.bytes(2) == hmac.digest(b"s" * 32, signed, "sha256")
    fields = protobuf.decode(signed)
    assert fields.bytes(2) == account.public
    assert xeddsa.verify(account.public, b"\x06\x00" + fields.bytes(1) + companion.public, fields.bytes(3))
    details = fields.message(1)
    assert (details.int(1), details.int(2), details.int(3)) == (7, 1700000000, 3)


@pytest.mark.parametrize("with_key", [True, False])
def test_both_signatures_are_checked(*, with_key: bool) -> None:
    account, companion = KeyPair.generate(), KeyPair.generate()
    signed = _signed_by_both(account, companion, with_key=with_key)
    details = linking.check_device_identity(signed, account.public, companion.public)
    assert protobuf.decode(details).int(3) == 1
    with pytest.raises(BadSignatureError):
        linking.check_device_identity(signed, KeyPair.generate().public, companion.public)
    with pytest.raises(BadSignatureError, match="account"):
        linking.check_device_identity(signed, account.public, KeyPair.generate().public)
    unsigned = linking.sign_device_identity(account, companion.public, raw_id=7, timestamp=1, key_index=1)
    with pytest.raises(BadSignatureError, match="the device"):
        linking.check_device_identity(unsigned, account.public, companion.public)
    with pytest.raises(DecodeError):
        linking.check_device_identity(b"\xff", account.public, companion.public)
