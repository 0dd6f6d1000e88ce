"""A door that would let tokens travel in clear text is a mistake of the settings file, and is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.api.settings import ApiSettings
from appliance.config import ConfigError, load_settings


def load(tmp_path: Path, **values: str) -> ApiSettings:
    variables = {f"AMDA_API_{name.upper()}": value for name, value in values.items()}
    return load_settings(None, {"AMDA_PATHS_STATE_DIR": str(tmp_path), **variables}).api


def test_no_tcp_door_by_default(tmp_path: Path) -> None:
    assert load(tmp_path).place() is None


@pytest.mark.parametrize(("listen", "host", "port"), [("127.0.0.1:8443", "127.0.0.1", 8443), ("[::1]:0", "::1", 0)])
def test_loopback_needs_no_tls(tmp_path: Path, listen: str, host: str, port: int) -> None:
    assert load(tmp_path, listen=listen).place() == (host, port)


def test_the_world_needs_tls_or_a_proxy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"api: listen: 0\.0\.0\.0 can be reached from elsewhere"):
        load(tmp_path, listen="0.0.0.0:8443")
    assert load(tmp_path, listen="0.0.0.0:8443", trusted_proxies="10.0.0.5 10.1.0.0/16").networks()
    assert load(tmp_path, listen="0.0.0.0:8443", certificate="/c.pem", key="/k.pem").place()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"listen": "localhost:1"}, "expected ADDRESS:PORT"),
        ({"listen": "127.0.0.1"}, "expected ADDRESS:PORT"),
        ({"listen": "127.0.0.1:70000"}, "a port is a number"),
        ({"certificate": "/c.pem"}, "belong together"),
        ({"trusted_proxies": "proxy"}, "write addresses or networks"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, values: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, **values)
