"""Contacts that come by the API cannot be turned against this machine; signatures can be checked."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.history.settings import AlertSettings
from appliance.history.signing import sign, verify
from appliance.history.targets import (
    ForbiddenTargetError,
    GuardedResolver,
    Reach,
    check_contact,
    check_reachable,
    connector,
    contact_reach,
    is_public,
    look_up,
)
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
        connector(contact_reach(SETTINGS, person=True), "127.0.0.1")
    await connector(contact_reach(SETTINGS, person=False), "127.0.0.1").close()


async def test_a_network_can_be_allowed_alone() -> None:
    reach = Reach(networks=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/8")))
    await connector(reach, "127.0.0.1").close()
    await connector(reach, "localhost").close()
    for address in ("10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1"):
        with pytest.raises(ForbiddenTargetError):
            connector(reach, address)
    assert reach.allows("::ffff:127.0.0.1")
    assert reach.allows("fd00::1")


async def test_of_a_names_addresses_only_those_are_used_that_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answer serves for the check and for the connection: there is no second one that could be forged."""
    answers = ["10.0.0.1", "203.0.113.5", "127.0.0.1", "8.8.8.8"]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(2, 1, 6, "", (answer, 443)) for answer in answers])
    found = await GuardedResolver(Reach()).resolve("example.org", 443)
    assert [one["host"] for one in found] == ["8.8.8.8"]
    answers.remove("8.8.8.8")
    with pytest.raises(ForbiddenTargetError):
        await GuardedResolver(Reach()).resolve("example.org", 443)


async def test_a_name_server_that_hangs_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even who needs one of the threads that all share."""
    released = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: released.wait(30) and [])
    waiting = [asyncio.ensure_future(look_up("example.org")) for _ in range(50)]
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(lambda: "done") == "done"
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)
    released.set()


async def test_what_is_no_name_is_an_error_of_one_kind() -> None:
    for name in ("a" * 64 + ".example", "\udcff", "no-such-host.invalid"):
        with pytest.raises(OSError):
            await look_up(name)


def test_public_addresses() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")
    wrapped = ("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1", "2002:c0a8:101::", "::ffff:127.0.0.1", "fec0::1")
    for address in ("127.0.0.1", "100.64.0.1", "224.0.0.1", "fe80::1%eth0", "::", "x", *wrapped):
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


def test_the_documented_check_is_right() -> None:
    """What docs/api.md tells receivers to do accepts what is ours, and nothing else."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "api.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    told: dict[str, Callable[[str, str, bytes], bool]] = {}
    exec(code, told)  # noqa: S102 - our own documentation
    now = time.time()
    header = sign(SECRET, b"{}", now)
    assert told["is_ours"](SECRET, header, b"{}")
    assert not told["is_ours"](SECRET, header, b"{ }")
    assert not told["is_ours"]("another", header, b"{}")
    assert not told["is_ours"](SECRET, sign(SECRET, b"{}", now - 400), b"{}")
