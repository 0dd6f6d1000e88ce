from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest

from appliance.staging.codec import protobuf
from appliance.staging.crypto import certificates, xeddsa
from appliance.staging.crypto.keys import KeyPair

NOW = datetime.datetime(2026, 9, 21, 12, tzinfo=datetime.UTC)


def test_the_noise_chain_holds_every_condition_of_the_client() -> None:
    root, static = KeyPair.generate(), KeyPair.generate()
    chain = protobuf.decode(certificates.noise_chain(root.private, static.public, NOW))
    leaf, intermediate = chain.message(1), chain.message(2)
    leaf_details, intermediate_details = leaf.message(1), intermediate.message(1)
    assert xeddsa.verify(root.public, intermediate.bytes(1), intermediate.bytes(2))
    assert xeddsa.verify(intermediate_details.bytes(3), leaf.bytes(1), leaf.bytes(2))
    assert intermediate_details.int(2) == 0
    assert leaf_details.int(2) == intermediate_details.int(1)
    assert leaf_details.bytes(3) == static.public
    for details in (leaf_details, intermediate_details):
        assert details.int(4) < NOW.timestamp() < details.int(5)


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> None:
    """A TLS handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(3):  # TLS 1.3 needs two flights of the client, one of the server
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].version() is not None


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    now = datetime.datetime.now(datetime.UTC)
    authority = certificates.make_authority(now)
    leaf = certificates.make_leaf(authority, now)
    pem = tmp_path / "leaf.pem"
    pem.write_bytes(leaf.certificate + leaf.private_key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return ssl.create_default_context(cadata=authority.certificate.decode()), server


@pytest.mark.parametrize("host", ["web.whatsapp.com", "mmg.whatsapp.net", "media-dkr1-1.cdn.whatsapp.net"])
def test_a_client_that_trusts_our_authority_trusts_the_hosts(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], host: str
) -> None:
    _handshake(*contexts, host)


def test_other_hosts_and_other_authorities_are_refused(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    client, server = contexts
    with pytest.raises(ssl.SSLCertVerificationError, match="example"):
        _handshake(client, server, "www.example.net")
    other = certificates.make_authority(datetime.datetime.now(datetime.UTC))
    stranger = ssl.create_default_context(cadata=other.certificate.decode())
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(stranger, server, "web.whatsapp.com")


def test_private_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(certificates.make_authority(NOW))
