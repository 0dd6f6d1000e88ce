"""Contacts that write by themselves, and old messages that a phone pushes."""

from __future__ import annotations

from appliance.staging.control_types import JournalKind, Mix, Traffic

from .conftest import Engines, NetworkProcess
from .test_first_slice import PHONE, expect_clean


async def test_traffic_is_all_received_and_receipted(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    mix = Mix(text=5, image=2, status=2, view_once=1, voice=1, video=1, group=2, revoked=1)
    identifier = await network.client.start_traffic(Traffic(per_second=50, messages=100, mix=mix))
    state = await network.client.wait_traffic(identifier, 60)
    sent = await network.client.whole_journal(kinds=[JournalKind.SENT])
    assert len(sent) == state.sent >= 100
    for entry in sent:
        await network.client.wait_for(JournalKind.RECEIPTED, message_id=entry.message_id)
    due = await network.client.captures_due(PHONE)
    assert {capture.category.value for capture in due} == {"statuses", "view-once", "deleted-messages"}
    assert all(capture.receipted_at for capture in due)
    await expect_clean(network)
    assert engine.seen("undecryptable") == []


async def test_history_is_pushed_to_a_new_device(network: NetworkProcess, engines: Engines) -> None:
    await engines.linked(PHONE, history_texts=500)
    fetched = await network.client.wait_for(JournalKind.MEDIA_GET, account=PHONE)
    assert fetched.data["status"] == 200
    await expect_clean(network)
