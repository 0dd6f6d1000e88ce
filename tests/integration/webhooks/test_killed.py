"""The daemon is killed (SIGKILL) while events happen and are delivered: none is lost."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from appliance.client import ApiError, ApplianceClient, NotRunningError
from appliance.model_webhooks import WebhookRequest
from tests.integration.api.daemon_process import DaemonProcess
from tests.integration.history.receiver import Receiver

KILLS = 2
EVENTS = 40
"""At most in one life: what waits is delivered in the end, and that takes time."""
SETTINGS = {
    "webhooks_private_networks": "127.0.0.1",
    "webhooks_base_s": "0.05",
    "webhooks_cap_s": "0.5",
    "limits_sessions": "100000",
}


async def test_no_delivery_is_lost(tmp_path: Path, receiver: Receiver) -> None:
    daemon = DaemonProcess(tmp_path, **SETTINGS)
    made = 0

    async def make_events(client: ApplianceClient) -> None:
        """Each new session is an event, as many as the daemon lives for."""
        nonlocal made
        with contextlib.suppress(NotRunningError):
            for _ in range(EVENTS):
                with contextlib.suppress(ApiError):  # the last one was made, but the daemon died before it said so
                    await client.create_session(f"s{made}")
                made += 1

    for life in range(KILLS):
        await daemon.start()
        async with daemon.client as client:
            if not life:
                await client.create_webhook(WebhookRequest(id="a", url=receiver.url, events=["session.state"]))
            making = asyncio.create_task(make_events(client))
            receiver.status, number = (200, 15) if life % 2 else (503, 3)
            await receiver.wait(len(receiver.received) + number)
            await daemon.kill()
            await making
    receiver.status = 200
    await daemon.start()
    async with daemon.client as client:
        last = (await client.status()).last_event
        happened = set()
        async for event in client.events(after=0):
            if event.type == "session.state":
                happened.add(event.seq)
            if event.seq >= last:
                break
        async with receiver.arrived, asyncio.timeout(60):
            await receiver.arrived.wait_for(lambda: happened <= {one.json["seq"] for one in receiver.taken})
    await daemon.stop()
    assert len(happened) >= made - KILLS > 5
    ids = {one.json["seq"]: {two.json["id"] for two in receiver.received if two.json["seq"] == one.json["seq"]}
           for one in receiver.received}  # fmt: skip
    assert all(len(same) == 1 for same in ids.values()), "what comes twice has one id"
