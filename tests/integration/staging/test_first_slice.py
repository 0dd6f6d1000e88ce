"""Linking, logging in and the kinds of content, with the real engine."""

from __future__ import annotations

from appliance.staging.control_types import JournalKind, Send, SendKind

from .conftest import Engines, NetworkProcess

PHONE = "221771000010"
ALICE = "221771000011"


async def test_link_by_code_then_text_and_picture(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    (text_id,) = await network.client.send(Send(account=PHONE, contact=ALICE, text="bonjour"))
    message = await engine.event("message", id=text_id)
    assert message["text"] == "bonjour"
    (image_id,) = await network.client.send(Send(account=PHONE, contact=ALICE, kind=SendKind.IMAGE, size=200_000))
    message = await engine.event("message", id=image_id)
    sent = await network.client.wait_for(JournalKind.SENT, message_id=image_id)
    assert message["sha256"] == sent.data["sha256"]
    assert message["size"] == 200_000
    await network.client.wait_for(JournalKind.RECEIPTED, message_id=image_id)
    stats = await network.client.stats()
    assert stats.unknown_requests == 0
    assert stats.bad_messages == 0
