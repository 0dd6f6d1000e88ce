"""The line of one webhook: its deliveries one after the other, so that a receiver that hangs holds up only itself."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from appliance.history.delivery import DeliveryError, Receipt, post_signed
from appliance.history.due_work import DueWork, backoff
from appliance.history.signing import DELIVERY_HEADER, EVENT_HEADER
from appliance.history.targets import ForbiddenTargetError
from appliance.masking import hide_target
from appliance.webhooks.book import Webhook, WebhookBook
from appliance.webhooks.deliveries import Deliveries, Outcome, Waiting
from appliance.webhooks.settings import WebhookSettings

BATCH: Final = 50
REST_CAP_S: Final = 300.0
"""A receiver that fails is left alone for a while, but whether it is back is found out at least this often."""
GONE: Final = 410
"""By this a receiver says that it wants nothing more, ever (RFC 9110, 15.5.11)."""
TOO_MANY: Final = 429
_log: Final = structlog.get_logger(__name__)


async def post(hook: Webhook, delivery: str, kind: str, body: bytes, book: WebhookBook, timeout_s: float) -> Receipt:
    """Post a message to a webhook, once. Raises as `post_signed`. The time that is signed is the true one, whatever
    clock a rehearsal has: the receiver compares it with its own."""
    headers = {DELIVERY_HEADER: delivery, EVENT_HEADER: kind}
    reach, now = book.reach(), time.time()
    return await post_signed(hook.url, body, hook.secret, reach=reach, timeout_s=timeout_s, now=now, headers=headers)


class Lane(DueWork[Waiting]):
    """`gone` is called when the receiver says that it wants nothing more."""

    def __init__(
        self,
        name: str,
        book: WebhookBook,
        deliveries: Deliveries,
        settings: Callable[[], WebhookSettings],
        gone: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("the deliveries of webhooks", 1, clock)
        self._name = name
        self._book = book
        self._deliveries = deliveries
        self._settings = settings
        self._gone = gone
        self._failures = 0
        """In a row, of the receiver itself."""
        self._rests_until = 0.0

    def end_rest(self) -> None:
        """Somebody wants it to be tried now."""
        self._failures, self._rests_until = 0, 0.0

    async def _due(self, now: float) -> Sequence[Waiting]:
        if self._resting(now):
            return []
        return await self._deliveries.due(self._name, now, self._settings().cap_s, BATCH)

    async def _next_due(self) -> float | None:
        due_at, now = await self._deliveries.next_due(self._name), self._clock()
        return max(due_at, self._rests_until) if due_at is not None and self._resting(now) else due_at

    def _pauses(self) -> tuple[float, float]:
        settings = self._settings()
        return settings.base_s, settings.cap_s

    async def _attempt(self, item: Waiting) -> None:
        hook = self._book.find(self._name)
        if hook is None or not hook.enabled or self._resting(self._clock()):
            return
        settings, begun = self._settings(), time.monotonic()
        receipt, error, forbidden = None, "", False
        try:
            receipt = await post(hook, item.id, item.type, item.body, self._book, settings.timeout_s)
        except ForbiddenTargetError as refusal:
            error, forbidden = f"{refusal}; webhooks.private_networks would allow it", True
        except DeliveryError as failure:
            error = str(failure)
        except ValueError:
            error = "the request cannot be made, or its answer not be read"
        if receipt is not None and not receipt.taken:
            error = f"answered {receipt.status}"
        status = None if receipt is None else receipt.status
        outcome = Outcome(at=self._clock(), took_s=round(time.monotonic() - begun, 3), status=status, error=error)
        log = _log.bind(webhook=hook.id, to=hide_target(hook.url), type=item.type, attempt=item.attempts + 1)
        if not error:
            self.end_rest()
            await self._deliveries.taken(item, outcome)
            log.debug("event delivered")
        elif forbidden or status == GONE or outcome.at - item.queued_at >= settings.give_up_s:
            await self._deliveries.given_up(item, outcome)
            log.error("delivery given up", reason=error)
            if status == GONE:
                await self._gone(hook.id)
        else:
            await self._again(item, outcome, 0.0 if receipt is None else receipt.retry_after_s)
            log.warning("event not delivered", reason=error)

    async def _again(self, item: Waiting, outcome: Outcome, retry_after_s: float) -> None:
        base_s, cap_s = self._pauses()
        pause = max(backoff(item.attempts, base_s, cap_s, random.random()), min(retry_after_s, cap_s))  # noqa: S311
        if outcome.status is None or outcome.status == TOO_MANY or outcome.status >= 500:
            cap_s = min(cap_s, REST_CAP_S)
            rest = max(backoff(self._failures, base_s, cap_s, random.random()), min(retry_after_s, cap_s))  # noqa: S311
            self._rests_until = outcome.at + rest
            self._failures += 1
        last_at = item.queued_at + self._settings().give_up_s
        await self._deliveries.again(item, outcome, min(outcome.at + pause, max(last_at, outcome.at)))

    def _resting(self, now: float) -> bool:
        """No rest is longer than its cap: a clock that was set back does not prolong it."""
        return now < self._rests_until <= now + REST_CAP_S
