"""The webhooks' room without the rest of the daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from appliance.database import Database
from appliance.events import EventBus
from appliance.model_webhooks import DeliveryQuery, DeliveryState, DeliveryView, NewWebhook, WebhookRequest
from appliance.webhooks.deliveries import Deliveries
from appliance.webhooks.lane import Lane
from appliance.webhooks.service import WebhookService
from appliance.webhooks.settings import WebhookSettings

NOW = 1_800_000_000.0
WAIT_S = 20.0


class HookRig:
    """`now` is the time, until the test says otherwise."""

    def __init__(self, database: Database, bus: EventBus, **settings: Any) -> None:
        self.database = database
        self.bus = bus
        self.now = NOW
        values = {"private_networks": ("127.0.0.0/8",), "base_s": 0.05, "cap_s": 3600.0, "timeout_s": 5.0, **settings}
        self.settings = WebhookSettings(**values)
        self.service = WebhookService(database, bus, lambda: self.settings, lambda: self.now)

    def set(self, **changes: Any) -> None:
        self.settings = msgspec.structs.replace(self.settings, **changes)

    async def add(self, name: str, url: str, **more: Any) -> NewWebhook:
        return await self.service.create(WebhookRequest(id=name, url=url, **more), "test")

    def lane(self, name: str) -> Lane:
        """One that the test drives itself."""

        async def gone(_name: str) -> None:
            pass

        deliveries = Deliveries(self.database, lambda: self.now)
        return Lane(name, self.service._book, deliveries, lambda: self.settings, gone, lambda: self.now)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.service.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def events(self, number: int, session: str | None = None) -> None:
        for item in range(number):
            await self.bus.publish("media.stored", session, id=str(item))

    async def deliveries(self, name: str, state: DeliveryState | None = None) -> list[DeliveryView]:
        return (await self.service.page(name, DeliveryQuery(state=state, limit=500))).items

    async def until(self, condition: Callable[[list[DeliveryView]], bool], name: str) -> list[DeliveryView]:
        """The deliveries as soon as they are so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                if condition(found := await self.deliveries(name)):
                    return found
                await asyncio.sleep(0.02)


def all_are(state: DeliveryState) -> Callable[[list[DeliveryView]], bool]:
    return lambda found: bool(found) and all(one.state is state for one in found)
