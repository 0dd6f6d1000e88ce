import ssl
from pathlib import Path

from appliance.staging.tls import ensure_certificates, write_roots


def test_workers_trust_the_authority_and_carry_those_of_the_machine(tmp_path: Path) -> None:
    authority, _ = ensure_certificates(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    bundle, _ = ensure_certificates(other)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(write_roots(authority, bundle))
    assert context.cert_store_stats()["x509_ca"] == 2


def test_without_a_bundle_there_is_the_authority_alone(tmp_path: Path) -> None:
    authority, _ = ensure_certificates(tmp_path)
    assert write_roots(authority, None).read_bytes() == authority.read_bytes()
