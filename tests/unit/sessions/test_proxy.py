"""A proxy's URL is read strictly and shown without its login."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sessions.proxy import Proxy, ProxyError, parse_proxy, show_proxy


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("socks5://10.0.0.1:1080", Proxy(scheme="socks5", host="10.0.0.1", port=1080)),
        ("http://proxy.example:3128/", Proxy(scheme="http", host="proxy.example", port=3128)),
        ("http://[::1]:3128", Proxy(scheme="http", host="::1", port=3128)),
        ("socks5://a:b%3A@h:1", Proxy(scheme="socks5", host="h", port=1, user="a", password="b:")),
    ],
)
def test_what_the_engine_takes(url: str, expected: Proxy) -> None:
    assert parse_proxy(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "10.0.0.1:1080",
        "https://h:1",
        "socks4://h:1",
        "SOCKS5H://h:1",
        "socks5://h",
        "socks5://h:0",
        "socks5://h:65536",
        "socks5://h:x",
        "socks5://:1080",
        "http://h:1/path",
        "http://h:1?x",
        "http://h:1#x",
        "http://h :1",
        "http://hé:1",
        "http://[::1:1",
        "http://:pw@h:1",
        "http://" + "u" * 256 + "@h:1",
    ],
)
def test_everything_else_is_an_error_with_a_remedy(url: str) -> None:
    with pytest.raises(ProxyError) as refused:
        parse_proxy(url)
    assert refused.value.remedy


secrets = st.text(min_size=6, max_size=40, alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S")))


@given(secrets, secrets)
def test_a_login_is_never_shown(user: str, password: str) -> None:
    url = f"socks5://{quote(user, safe='')}:{quote(password, safe='')}@h.example:1080"
    proxy = parse_proxy(url)
    assert (proxy.user, proxy.password) == (user, password)
    assert show_proxy(url) == str(proxy) == repr(proxy) == "socks5://···@h.example:1080"


@given(st.text(max_size=60))
def test_whatever_is_no_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ProxyError) as refused:
        parse_proxy(text)
    assert len(text) < 12 or text not in str(refused.value)


def test_only_an_address_is_on_loopback() -> None:
    assert parse_proxy("http://127.0.0.7:1").on_loopback
    assert parse_proxy("http://[::1]:1").on_loopback
    assert not parse_proxy("http://localhost:1").on_loopback
    assert not parse_proxy("http://10.0.0.1:1").on_loopback
