"""The two proofs that a server is WhatsApp: the Noise certificate chain, and X.509 for TLS.

Both end at a root of our own. The client is given our roots; the real ones, and so real WhatsApp, are out of reach.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.staging.codec import protobuf
from appliance.staging.crypto import xeddsa
from appliance.staging.crypto.keys import KeyPair

TLS_NAMES: Final = (
    "web.whatsapp.com",
    "*.whatsapp.com",
    "mmg.whatsapp.net",
    "*.whatsapp.net",
    "*.cdn.whatsapp.net",
)
"""The hosts that the client dials: its web socket, and the media hosts."""

VALIDITY: Final = datetime.timedelta(days=365 * 10)
"""Longer than any staging network lives; nothing here protects a secret of the real world."""
BACKDATING: Final = datetime.timedelta(days=1)
"""Clocks of virtual machines jump; a certificate that begins tomorrow is refused."""

_INTERMEDIATE_SERIAL: Final = 1
_LEAF_SERIAL: Final = 2
_ROOT_SERIAL: Final = 0
"""The client knows the root by this number."""


def noise_chain(root_private: bytes, static_public: bytes, now: datetime.datetime) -> bytes:
    """The CertChain that proves `static_public`, the server's Noise key, to a client that trusts the root.

    The key of the intermediate is used once and forgotten.
    """
    not_before, not_after = int((now - BACKDATING).timestamp()), int((now + VALIDITY).timestamp())

    def certificate(serial: int, issuer: int, public: bytes, signer: bytes) -> dict[int, protobuf.Value]:
        details = protobuf.encode({1: serial, 2: issuer, 3: public, 4: not_before, 5: not_after})
        return {1: details, 2: xeddsa.sign(signer, details)}

    intermediate = KeyPair.generate()
    return protobuf.encode(
        {
            1: certificate(_LEAF_SERIAL, _INTERMEDIATE_SERIAL, static_public, intermediate.private),
            2: certificate(_INTERMEDIATE_SERIAL, _ROOT_SERIAL, intermediate.public, root_private),
        }
    )


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A certificate and its key, both PEM."""

    certificate: bytes
    private_key: bytes = field(repr=False)


def make_authority(now: datetime.datetime) -> TlsCertificate:
    """A certificate authority that may sign leaves only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("AMDA staging network")
    builder = _builder(name, name, key.public_key(), now).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return _finish(builder.add_extension(_key_usage(authority=True), critical=True), key, key)


def make_leaf(authority: TlsCertificate, now: datetime.datetime, names: tuple[str, ...] = TLS_NAMES) -> TlsCertificate:
    """A server certificate for `names`, signed by the authority."""
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    issuer_key = serialization.load_pem_private_key(authority.private_key, password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise ValueError("authority: its key is not ECDSA; make it with make_authority")
    key = ec.generate_private_key(ec.SECP256R1())
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = (
        _builder(_name(names[0]), issuer.subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternative, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return _finish(builder, key, issuer_key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATING)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _finish(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> TlsCertificate:
    certificate = builder.sign(signer, hashes.SHA256())
    return TlsCertificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
