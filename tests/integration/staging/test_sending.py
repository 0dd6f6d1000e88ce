"""What the engine sends, asks and announces."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from appliance.staging.control_types import FaultKind, JournalKind, SetFault

from .conftest import Engines, NetworkProcess
from .test_first_slice import ALICE, PHONE, expect_clean, send

BOB = "221771000012"


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_texts_and_files(network: NetworkProcess, engines: Engines, tmp_path: Path) -> None:
    engine = await engines.linked(PHONE)
    for to in (PHONE, ALICE, PHONE, ALICE):
        message_id = await engine.call("send_text", to=to, text="voilà")
        arrived = await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
        assert (arrived.data["to"], arrived.data["text_sha256"]) == (to, text_hash("voilà"))
    await send(network, contact=BOB)
    message_id = await engine.call("send_text", to=BOB, text="réponse")
    await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
    await send(network, contact=BOB)
    content = bytes(range(256)) * 20
    (tmp_path / "a.bin").write_bytes(content)
    message_id = await engine.call("send_document", to=ALICE, path=str(tmp_path / "a.bin"))
    arrived = await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
    assert arrived.data["sha256"] == hashlib.sha256(content).hexdigest()
    await expect_clean(network)


async def test_a_second_device_sees_what_the_first_sends(network: NetworkProcess, engines: Engines) -> None:
    first = await engines.linked(PHONE, "first")
    await first.call("send_text", to=ALICE, text="seul")
    before = await network.client.last()
    second = await engines.linked(PHONE, "second")
    # The first one asks who there is again once it has taken the news.
    await network.client.wait_for(JournalKind.TOLD, account=PHONE, device=1, about="account_sync", after=before)
    message_id = await first.call("send_text", to=ALICE, text="à deux")
    message = await second.event("message", id=message_id)
    assert (message["text"], message["from_me"]) == ("à deux", True)
    arriving = await send(network, text="pour les deux")
    for engine in (first, second):
        await engine.event("message", id=arriving)
    await expect_clean(network)


async def test_groups_presence_probe_and_logout(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    message_id = await engine.call("send_text", to="120363400000000001@g.us", text="à tous")
    arrived = await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
    assert arrived.data["text_sha256"] == text_hash("à tous")
    async with asyncio.timeout(20):  # the push name comes by app state, a moment after the first login
        while True:
            try:
                await engine.call("presence", value="UNAVAILABLE")
                break
            except RuntimeError:
                await engine.call("probe")
    shown = await network.client.wait_for(JournalKind.PRESENCE, account=PHONE)
    assert shown.data["type"] == "unavailable"
    for method in ("get_blocklist", "get_joined_groups", "get_privacy_settings", "get_status_privacy"):
        await engine.call("call", method=method)
    await engine.call("logout")
    removed = await network.client.wait_for(JournalKind.UNLINKED, account=PHONE)
    assert removed.data["by"] == "device"
    account = await network.client.account(PHONE)
    assert account is not None
    assert account.devices == []
    await expect_clean(network)


async def test_the_recipient_asks_again(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(SetFault(kind=FaultKind.ASK_RETRY, account=PHONE, count=1))
    message_id = await engine.call("send_text", to=ALICE, text="encore")
    first = await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
    again = await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id, after=first.seq)
    assert again.data["text_sha256"] == text_hash("encore")
    await expect_clean(network)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (SetFault(kind=FaultKind.ACK_ERROR, code=463), "463"),
        (SetFault(kind=FaultKind.NO_LID), "no LID found"),
    ],
)
async def test_sending_fails(network: NetworkProcess, engines: Engines, fault: SetFault, message: str) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(fault)
    with pytest.raises(RuntimeError, match=message):
        await engine.call("send_text", to=ALICE, text="non")


async def test_sending_without_one_time_keys(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await network.client.set_fault(SetFault(kind=FaultKind.NO_PREKEYS))
    message_id = await engine.call("send_text", to=ALICE, text="sans")
    await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
    await expect_clean(network)
