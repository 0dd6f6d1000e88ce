"""Whose request it is, by what it says of itself."""

from __future__ import annotations

import pytest

from tui.web.guard import Door, is_loopback

LOCAL = Door(host="127.0.0.1", port=8765)
PUBLIC = Door(host="127.0.0.1", port=8765, public="https://amda.example.org")
ANY = "0.0.0.0"  # noqa: S104 - nothing is bound here
EVERYWHERE = Door(host=ANY, port=8765, encrypted=True)


@pytest.mark.parametrize(
    ("door", "authority", "known"),
    [
        (LOCAL, "127.0.0.1:8765", True),
        (LOCAL, "localhost:1234", True),
        (LOCAL, "[::1]:8765", True),
        (LOCAL, "LOCALHOST", True),
        (LOCAL, "evil.example:8765", False),
        (LOCAL, "127.0.0.1.evil.example", False),
        (LOCAL, "127.0.0.1@evil.example", False),
        (LOCAL, "127.0.0.1; script-src *", False),
        (LOCAL, "", False),
        (LOCAL, "[::1", False),
        (PUBLIC, "amda.example.org", True),
        (PUBLIC, "other.example.org", False),
        (EVERYWHERE, "10.0.0.7:8765", True),
    ],
)
def test_hosts(door: Door, authority: str, known: bool) -> None:
    assert door.knows(authority) is known


@pytest.mark.parametrize(
    ("door", "origin", "authority", "own"),
    [
        (LOCAL, "http://127.0.0.1:8765", "127.0.0.1:8765", True),
        (LOCAL, "http://localhost:9000", "localhost:9000", True),
        (LOCAL, "http://localhost:8765", "127.0.0.1:8765", False),
        (LOCAL, "https://127.0.0.1:8765", "127.0.0.1:8765", False),
        (LOCAL, "null", "127.0.0.1:8765", False),
        (LOCAL, None, "127.0.0.1:8765", False),
        (PUBLIC, "https://amda.example.org", "amda.example.org", True),
        (PUBLIC, "http://amda.example.org.evil", "amda.example.org", False),
        (EVERYWHERE, "https://10.0.0.7:8765", "10.0.0.7:8765", True),
    ],
)
def test_origins(door: Door, origin: str | None, authority: str, own: bool) -> None:
    assert door.is_own_page(origin, authority) is own


def test_addresses_for_people() -> None:
    assert LOCAL.address == "http://127.0.0.1:8765/"
    assert PUBLIC.address == "https://amda.example.org/"
    assert Door(host="::1", port=1, encrypted=True).address == "https://[::1]:1/"
    assert (LOCAL.secure, PUBLIC.secure, EVERYWHERE.secure) == (False, True, True)


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.53", "::1", "localhost")))
    assert not any(map(is_loopback, (ANY, "::", "10.0.0.1", "amda.example.org")))
