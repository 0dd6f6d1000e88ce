"""Where this machine keeps the certificate authorities that it trusts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

CERTIFICATE_FILE: Final = "SSL_CERT_FILE"
CERTIFICATE_FOLDER: Final = "SSL_CERT_DIR"
"""Variables by which Go and OpenSSL are told to look elsewhere."""
NO_FOLDER: Final = "/nonexistent"
"""Debian's name for a folder that must never be: no single certificates beside the file."""
BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""One file with all of them, by distribution: the places, and the order, in which Go looks (crypto/x509,
root_linux.go)."""


def system_bundle(places: Iterable[str] = BUNDLES) -> Path | None:
    """The file that Go would take; None if there is none that holds anything."""
    for place in places:
        path = Path(place)
        if path.is_file() and path.stat().st_size:
            return path
    return None
