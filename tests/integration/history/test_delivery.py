"""Deliveries for real: our webhook client and the apprise process against a server on loopback."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import msgspec
import pytest

from appliance.history.alert_texts import Message
from appliance.history.delivery import DeliveryError, Sender, ping
from appliance.history.settings import AlertSettings
from appliance.history.signing import SIGNATURE_HEADER, verify
from tests.integration.history.receiver import Receiver

SECRET = "0123456789abcdef0123456789abcdef"
SETTINGS = AlertSettings(webhook_secret=SECRET, delivery_timeout_s=20, private_contacts=True)
NOW = 1_800_000_000.0
MESSAGE = Message(title="Ceci est à lire", body="Bonjour Awa,\n\nmerci.", kind="warning", at=NOW, data={"x": 1})


def short(seconds: float) -> AlertSettings:
    return msgspec.structs.replace(SETTINGS, delivery_timeout_s=seconds)


def apprise_processes() -> list[bytes]:
    """Command lines of our children that are apprise."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if b"apprise.cli" in command and parent == os.getpid():
                found.append(command)
    return found


async def test_webhooks_are_signed(receiver: Receiver) -> None:
    await Sender(lambda: NOW).send(f"{receiver.url}/hook", MESSAGE, SETTINGS, person=True)
    (got,) = receiver.received
    assert got.path == "/hook"
    assert got.json == msgspec.to_builtins(MESSAGE)
    header = got.headers[SIGNATURE_HEADER]
    assert verify(SECRET, got.body, header, NOW)
    assert not verify(SECRET + "x", got.body, header, NOW)


@pytest.mark.parametrize(("status", "text"), [(500, "answered 500"), (404, "answered 404"), (307, "answered 307")])
async def test_webhooks_that_fail(receiver: Receiver, status: int, text: str) -> None:
    """A redirection is not followed: it could lead anywhere."""
    receiver.status = status
    with pytest.raises(DeliveryError, match=text):
        await Sender().send(f"{receiver.url}/token-in-path", MESSAGE, SETTINGS, person=False)
    assert len(receiver.received) == 1


async def test_a_webhook_that_never_answers_is_given_up(receiver: Receiver) -> None:
    receiver.hang = True
    with pytest.raises(DeliveryError, match=r"no answer within 0\.3 s"):
        await Sender().send(receiver.url, MESSAGE, short(0.3), person=False)


async def test_nobody_listens() -> None:
    with pytest.raises(DeliveryError) as caught:
        await Sender().send("http://127.0.0.1:1/token-in-path", MESSAGE, SETTINGS, person=False)
    assert str(caught.value) == "no connection to 127.0.0.1:1: Connection refused"
    assert not caught.value.permanent


async def test_why_a_webhook_is_not_reached_is_said_in_words(receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    for url, why in (
        ("http://no-such-host.invalid/secret", r"the name no-such-host\.invalid is not known"),
        (f"https://127.0.0.1:{port}/secret", r"no TLS with 127\.0\.0\.1: .*"),
    ):
        with pytest.raises(DeliveryError) as caught:
            await Sender().send(url, MESSAGE, SETTINGS, person=False)
        assert re.fullmatch(why, str(caught.value))


async def test_contacts_of_persons_do_not_reach_this_machine(receiver: Receiver) -> None:
    strict = msgspec.structs.replace(SETTINGS, private_contacts=False)
    port = receiver.url.rpartition(":")[2]
    for target in (receiver.url, f"http://localhost:{port}", receiver.apprise_url, f"json://localhost:{port}"):
        with pytest.raises(DeliveryError, match="private network") as caught:
            await Sender().send(target, MESSAGE, strict, person=True)
        assert caught.value.permanent
    assert receiver.received == []


async def test_apprise_delivers(receiver: Receiver) -> None:
    await Sender().send(f"{receiver.apprise_url}/inbox", MESSAGE, SETTINGS, person=True)
    (got,) = receiver.received
    assert got.path == "/inbox"
    assert (got.json["title"], got.json["message"], got.json["type"]) == (MESSAGE.title, MESSAGE.body, "warning")


async def test_apprise_says_when_it_fails(receiver: Receiver) -> None:
    receiver.status = 500
    with pytest.raises(DeliveryError, match="apprise: the service refused"):
        await Sender().send(f"{receiver.apprise_url}/inbox", MESSAGE, SETTINGS, person=False)
    with pytest.raises(DeliveryError, match="Unparseable") as caught:
        await Sender().send("nonsense://very-secret/", MESSAGE, SETTINGS, person=False)
    assert "very-secret" not in str(caught.value)


async def test_apprise_that_hangs_is_ended_and_shows_no_secret(receiver: Receiver) -> None:
    receiver.hang = True
    sending = asyncio.create_task(Sender().send(f"{receiver.apprise_url}/secret", MESSAGE, short(12), person=False))
    await receiver.wait(1)
    (command,) = apprise_processes()
    assert b"secret" not in command
    assert b"Bonjour" not in command
    with pytest.raises(DeliveryError):
        await sending
    assert apprise_processes() == []


async def test_a_daemon_that_ends_leaves_no_apprise(receiver: Receiver) -> None:
    receiver.hang = True
    sending = asyncio.create_task(Sender().send(receiver.apprise_url, MESSAGE, SETTINGS, person=False))
    await receiver.wait(1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert apprise_processes() == []


async def test_the_dead_mans_switch(receiver: Receiver) -> None:
    await ping(f"{receiver.url}/beat", 5)
    assert receiver.received[0].path == "/beat"
    receiver.status = 503
    with pytest.raises(DeliveryError, match="answered 503"):
        await ping(f"{receiver.url}/beat", 5)
    receiver.hang = True
    with pytest.raises(DeliveryError, match="no answer"):
        await ping(f"{receiver.url}/beat", 0.2)
