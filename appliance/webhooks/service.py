"""Webhooks at work: each event that one of them wants is queued for it in the transaction that records the event, and
sent by a line of its own.

So a daemon that is killed at any moment has lost no delivery, and may have made one twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from typing import Final

import aiosqlite
import msgspec
import structlog

from appliance.database import Database
from appliance.events import EventBus
from appliance.history.delivery import DeliveryError
from appliance.history.settings import DAY_S, HOUR_S
from appliance.history.targets import ForbiddenTargetError
from appliance.masking import hide_target
from appliance.model import EventView
from appliance.model_history import TrialOutcome
from appliance.model_webhooks import (
    DeliveryDetails,
    DeliveryPage,
    DeliveryQuery,
    DeliveryView,
    NewWebhook,
    WebhookChange,
    WebhookRequest,
    WebhookView,
)
from appliance.problems import ProblemError
from appliance.webhooks.book import Webhook, WebhookBook
from appliance.webhooks.deliveries import Counts, Deliveries, message_of
from appliance.webhooks.lane import Lane, post
from appliance.webhooks.settings import WebhookSettings

TIDY_S: Final = 60.0
"""How often the bounds of the queues are held: within a minute nobody fills the disk."""
TEST_TYPE: Final = "webhook.test"
GONE_REASON: Final = "the receiver answered 410: it wants nothing more"
_log: Final = structlog.get_logger(__name__)


class WebhookService:
    """Call `await load()`, then let `run()` work until it is cancelled."""

    def __init__(
        self,
        database: Database,
        bus: EventBus,
        settings: Callable[[], WebhookSettings],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._clock = clock
        self._book = WebhookBook(database, settings, clock)
        self._deliveries = Deliveries(database, clock)
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._queued_for: set[str] = set()

    async def load(self) -> None:
        """Take up what is stored; events are queued from now on."""
        await self._book.load()
        self._bus.record_with(self)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tidy())
            while True:
                self._changed.clear()
                await self._match_lanes(tasks)
                await self._changed.wait()

    # ---- what the event bus calls

    def wants(self, kind: str, session: str | None) -> bool:
        return self._book.wanted(kind, session)

    async def record(self, connection: aiosqlite.Connection, event: EventView) -> None:
        hooks = self._book.for_event(event)
        await self._deliveries.queue(connection, event, hooks)
        self._queued_for.update(hook.id for hook in hooks)

    def recorded(self) -> None:
        queued, self._queued_for = self._queued_for, set()
        for name in queued & self._lanes.keys():
            self._lanes[name].wake()

    # ---- what the API calls; every method raises ProblemError 404 for a webhook that there is not

    async def list(self) -> list[WebhookView]:
        """By id."""
        counts = await self._deliveries.counts()
        return [_view(hook, counts.get(hook.id, Counts())) for hook in self._book.all()]

    async def get(self, name: str) -> WebhookView:
        hook = self._book.get(name)
        return _view(hook, (await self._deliveries.counts()).get(name, Counts()))

    async def create(self, request: WebhookRequest, who: str) -> NewWebhook:
        """Raises ProblemError: 400 names the field, 409."""
        hook = await self._book.create(request, who)
        self._changed.set()
        return NewWebhook(secret=hook.secret, details=_view(hook, Counts()))

    async def change(self, name: str, change: WebhookChange) -> WebhookView:
        """Raises ProblemError 400 that names the field."""
        await self._book.change(name, change)
        self._changed.set()
        self._try_now(name)
        return await self.get(name)

    async def renew_secret(self, name: str) -> NewWebhook:
        hook = await self._book.renew_secret(name)
        return NewWebhook(secret=hook.secret, details=await self.get(name))

    async def remove(self, name: str) -> None:
        await self._book.remove(name)
        self._changed.set()

    async def test(self, name: str) -> TrialOutcome:
        """Post a message that says that it is a test, at once and once, whether the webhook is enabled or not."""
        hook, settings, begun, error = self._book.get(name), self._settings(), time.monotonic(), ""
        event = EventView(seq=self._bus.last_seq, at=self._clock(), type=TEST_TYPE, data={"test": True})
        message = message_of(event, hook.id)
        try:
            receipt = await post(
                hook, message.id, TEST_TYPE, msgspec.json.encode(message), self._book, settings.timeout_s
            )
            if not receipt.taken:
                error = f"answered {receipt.status}"
        except (DeliveryError, ForbiddenTargetError) as failure:
            error = str(failure)
        except ValueError:
            error = "the request cannot be made, or its answer not be read"
        took_s = round(time.monotonic() - begun, 3)
        return TrialOutcome(target=hide_target(hook.url), delivered=not error, seconds=took_s, error=error)

    async def page(self, name: str, query: DeliveryQuery) -> DeliveryPage:
        self._book.get(name)
        return await self._deliveries.page(name, query)

    async def details(self, name: str, delivery: str) -> DeliveryDetails:
        self._book.get(name)
        return await self._deliveries.details(name, delivery)

    async def resend(self, name: str, delivery: str) -> DeliveryView:
        self._book.get(name)
        view = await self._deliveries.resend(name, delivery)
        self._try_now(name)
        return view

    async def resend_dead(self, name: str) -> int:
        self._book.get(name)
        queued = await self._deliveries.resend_dead(name)
        self._try_now(name)
        return queued

    async def trouble(self) -> str:
        """What is to be told of webhooks that need somebody; empty: nothing."""
        failing = await self._deliveries.failing(self._clock() - HOUR_S)
        hooks = self._book.all()
        lines = [f"{hook.id} has taken nothing for an hour" for hook in hooks if hook.enabled and hook.id in failing]
        lines += [f"{hook.id} is disabled: {hook.reason}" for hook in hooks if hook.reason]
        return "; ".join(lines)

    # ---- helpers

    def _try_now(self, name: str) -> None:
        if lane := self._lanes.get(name):
            lane.end_rest()
            lane.wake()

    async def _match_lanes(self, tasks: asyncio.TaskGroup) -> None:
        """A line for each webhook that is enabled, and for no other."""
        wanted = {hook.id for hook in self._book.all() if hook.enabled}
        for name in self._tasks.keys() - wanted:
            task = self._tasks.pop(name)
            del self._lanes[name]
            task.cancel()
            await asyncio.wait([task])
        for name in wanted - self._tasks.keys():
            lane = Lane(name, self._book, self._deliveries, self._settings, self._receiver_is_gone, self._clock)
            self._lanes[name], self._tasks[name] = lane, tasks.create_task(lane.run())

    async def _receiver_is_gone(self, name: str) -> None:
        with contextlib.suppress(ProblemError):  # it was removed meanwhile
            await self._book.disable(name, GONE_REASON)
            await self._bus.publish("webhook.disabled", webhook=name, reason=GONE_REASON)
        self._changed.set()  # ends the line that called this

    async def _tidy(self) -> None:
        while True:
            try:
                before = self._clock() - self._settings().keep_days * DAY_S
                for hook in self._book.all():
                    if given_up := await self._deliveries.tidy(hook.id, before):
                        _log.error("deliveries given up: too many wait", webhook=hook.id, count=given_up)
            except sqlite3.Error as error:  # a full disk; tried again in a minute
                _log.error("deliveries of webhooks cannot be tidied", error=str(error))
            await asyncio.sleep(TIDY_S)


def _view(hook: Webhook, counts: Counts) -> WebhookView:
    return WebhookView(
        id=hook.id,
        url=hide_target(hook.url),
        events=list(hook.events),
        sessions=list(hook.sessions),
        enabled=hook.enabled,
        reason=hook.reason,
        created_at=hook.created_at,
        created_by=hook.created_by,
        waiting=counts.waiting,
        dead=counts.dead,
        delivered_at=counts.delivered_at,
        error=counts.error,
    )
