"""The network is killed, and forgets nothing."""

from __future__ import annotations

import signal

from appliance.staging.control_types import FaultKind, JournalKind, Send, SendKind, SetFault, Where

from .conftest import Engines, NetworkProcess
from .test_first_slice import ALICE, PHONE, expect_clean, expect_content, send


async def test_killed_and_started_again(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE, where=Where.STATUS))
    await engine.call("send_text", to=ALICE, text="avant")
    await network.client.set_fault(SetFault(kind=FaultKind.HOLD, account=PHONE))
    (waiting,) = await network.client.send(Send(account=PHONE, contact=ALICE, kind=SendKind.IMAGE))
    address = network.info
    await network.kill(signal.SIGKILL)
    await engine.event("disconnected")
    await network.start()
    assert address is not None
    assert network.info is not None
    assert network.info.proxy_url == address.proxy_url
    await engine.event("connected", timeout=40)
    await expect_content(network, engine, waiting)
    await expect_content(network, engine, await send(network, kind=SendKind.IMAGE, where=Where.STATUS))
    message_id = await engine.call("send_text", to=ALICE, text="après")
    await network.client.wait_for(JournalKind.ARRIVED, message_id=message_id)
    closed = await network.client.journal(kinds=[JournalKind.CLOSED], account=PHONE)
    assert [entry.data["by"] for entry in closed] == ["network killed"]
    await expect_clean(network)


async def test_the_device_is_away_while_messages_come(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await engine.kill()
    ids = [await send(network, text=f"message {number}") for number in range(50)]
    picture = await send(network, kind=SendKind.IMAGE)
    engine = await engines.start(PHONE)
    await engine.call("connect")
    await expect_content(network, engine, picture)
    for message_id in ids:
        await engine.event("message", id=message_id)
    await engine.event("offline_synced")
    for message_id in ids:
        await network.client.wait_for(JournalKind.RECEIPTED, message_id=message_id)
    assert (await network.client.stats()).second_copies == 0


async def test_a_second_copy_is_told_from_a_return(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    await engine.kill()
    again = await engines.start(PHONE)
    await again.call("connect")
    await again.event("connected")
    assert (await network.client.stats()).second_copies == 0
    copy = await engines.start(PHONE)
    await copy.call("connect")
    await copy.event("connected")
    await again.event("replaced")
    assert (await network.client.stats()).second_copies == 1
