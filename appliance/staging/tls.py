"""The TLS side of the one server behind every host name; its certificate is made once and kept in the folder."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path
from typing import Final

from appliance.staging.crypto.certificates import make_authority, make_leaf

CHAT_HOST: Final = "web.whatsapp.com"
MEDIA_HOST: Final = "mmg.whatsapp.net"
SECOND_MEDIA_HOST: Final = "media-cdg4-1.cdn.whatsapp.net"
"""The engine tries the hosts in the order in which it is told them; a second one shows what it does after a failure."""


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)


def ensure_certificates(folder: Path) -> tuple[Path, Path]:
    """Make the authority and the server's certificate unless the folder has them; return (ca.pem, server.pem)."""
    ca_file, server_file = folder / "ca.pem", folder / "server.pem"
    if not (ca_file.exists() and server_file.exists()):
        now = dt.datetime.now(dt.UTC)
        authority = make_authority(now)
        leaf = make_leaf(authority, now)
        _write_private(server_file, leaf.private_key + leaf.certificate)
        _write_private(ca_file, authority.certificate)
    return ca_file, server_file


def write_roots(authority: Path, bundle: Path | None) -> Path:
    """Beside the authority's file, one that workers trust: the authority, and those of this machine (`bundle`).

    They never meet a certificate of the others, but carry them in memory as they do in production, so that what is
    measured on the staging network is true there.
    """
    roots = authority.with_name("roots.pem")
    _write_private(roots, authority.read_bytes() + (bundle.read_bytes() if bundle else b""))
    return roots


def server_context(server_file: Path) -> ssl.SSLContext:
    """TLS settings of the server: HTTP/1.1 only, because the engine's WebSocket upgrade fails over HTTP/2."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
