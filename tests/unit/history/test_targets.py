"""Contacts that come by the API cannot be turned against this machine; signatures can be checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.settings import AlertSettings
from appliance.history.signing import sign, verify
from appliance.history.targets import ForbiddenTargetError, check_contact, check_reachable, connector, is_public
from appliance.problems import ProblemError

SECRET = "0123456789abcdef"
SETTINGS = AlertSettings(webhook_secret=SECRET)


@pytest.mark.parametrize(
    "contact",
    [
        "mailto://user:password@example.org",
        "tgram://123456:abc/42",
        "ntfys://ntfy.example.org/topic",
        "https://hooks.example.org/x",
    ],
)
def test_ordinary_contacts(contact: str) -> None:
    check_contact(contact, SETTINGS)


@pytest.mark.parametrize(
    "contact",
    [
        "http://127.0.0.1/x",
        "https://localhost:9000/x",
        "https://LOCALHOST./x",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://127.1/",
        "https://2130706433/",
        "https://0/",
        "json://127.0.0.1:8080/x",
        "dbus://",
        "syslog://",
        "apprise://example.org/x",
        "msteams://a/b/c/?template=/etc/passwd",
        "json://example.org/,json://127.0.0.1/",
        "https://[broken/",
        "not a url",
    ],
)
def test_contacts_that_are_refused(contact: str) -> None:
    with pytest.raises(ProblemError) as caught:
        check_contact(contact, SETTINGS)
    assert caught.value.problem.status == 400
    assert caught.value.problem.field == "contact"
    assert caught.value.problem.remedy


def test_a_webhook_needs_a_key_first() -> None:
    with pytest.raises(ProblemError, match="signed"):
        check_contact("https://hooks.example.org/x", AlertSettings())


def test_private_contacts_can_be_allowed() -> None:
    check_contact("json://127.0.0.1:8080/x", AlertSettings(webhook_secret=SECRET, private_contacts=True))


async def test_names_are_resolved_at_delivery() -> None:
    with pytest.raises(ForbiddenTargetError):
        await check_reachable("json://localhost:8080/x", SETTINGS)
    with pytest.raises(ForbiddenTargetError):
        await check_reachable("mailto://u:p@example.invalid?smtp=127.0.0.1", SETTINGS)
    await check_reachable("tgram://123456:abc/42", SETTINGS)
    with pytest.raises(ForbiddenTargetError):
        connector(SETTINGS, person=True, host="127.0.0.1")
    await connector(SETTINGS, person=False, host="127.0.0.1").close()


def test_public_addresses() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")
    for address in ("127.0.0.1", "100.64.0.1", "224.0.0.1", "fe80::1%eth0", "::", "x"):
        assert not is_public(address)


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=2**33))
def test_a_signature_is_good_for_its_body_and_for_minutes(body: bytes, at: int) -> None:
    header = sign(SECRET, body, at + 0.9)
    assert verify(SECRET, body, header, at + 299)
    assert not verify(SECRET, body + b".", header, at)
    assert not verify("another key 12345", body, header, at)
    assert not verify(SECRET, body, header, at + 301)
    assert not verify(SECRET, body, header.replace(f"t={at}", f"t={at + 1}"), at)


@pytest.mark.parametrize("header", ["", "t=,v1=", "v1=abc", "t=1", "t=²,v1=é", "t=1,v1=\u00e9"])
def test_headers_that_are_none(header: str) -> None:
    assert not verify(SECRET, b"", header, 1.0)


def test_a_known_answer() -> None:
    """HMAC-SHA256 of `1700000000.{}`, as openssl dgst -sha256 -hmac computes it."""
    expected = "t=1700000000,v1=" + KNOWN
    assert sign(SECRET, b"{}", 1_700_000_000.0) == expected


KNOWN = "e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
