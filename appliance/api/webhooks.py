"""/v1/webhooks: who is told of events by a signed request, what became of each delivery, and sending it again."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.api.routes import Call, Route, delete, get, patch, post
from appliance.model_api import ResourceId, Scope
from appliance.model_history import TrialOutcome
from appliance.model_webhooks import (
    DeliveryDetails,
    DeliveryPage,
    DeliveryQuery,
    DeliveryView,
    NewWebhook,
    Resent,
    WebhookChange,
    WebhookId,
    WebhookList,
    WebhookRequest,
    WebhookView,
)
from appliance.webhooks.service import WebhookService


class WebhooksResource:
    def __init__(self, webhooks: WebhookService) -> None:
        self._webhooks = webhooks

    def routes(self) -> Sequence[Route]:
        return (
            get("/v1/webhooks", self.list),
            post("/v1/webhooks", self.create, Scope.ADMIN, status=201),
            get("/v1/webhooks/{webhook}", self.show),
            patch("/v1/webhooks/{webhook}", self.change, Scope.ADMIN),
            delete("/v1/webhooks/{webhook}", self.remove, Scope.ADMIN),
            post("/v1/webhooks/{webhook}/secret", self.renew_secret, Scope.ADMIN),
            post("/v1/webhooks/{webhook}/test", self.test),
            get("/v1/webhooks/{webhook}/deliveries", self.deliveries),
            get("/v1/webhooks/{webhook}/deliveries/{delivery}", self.delivery),
            post("/v1/webhooks/{webhook}/deliveries/{delivery}/resend", self.resend),
            post("/v1/webhooks/{webhook}/resend", self.resend_dead),
        )

    async def list(self) -> WebhookList:
        """All webhooks; never their secrets."""
        return WebhookList(webhooks=await self._webhooks.list())

    async def create(self, call: Call, body: WebhookRequest) -> NewWebhook:
        """Have events posted to a URL from now on. The secret that signs them is shown this once.

        The id is unique, so that a repeated call makes no second one; hence no `Idempotency-Key` is needed.
        """
        return await self._webhooks.create(body, call.caller.who)

    async def show(self, webhook: WebhookId) -> WebhookView:
        """One webhook, and how it fares."""
        return await self._webhooks.get(webhook)

    async def change(self, webhook: WebhookId, body: WebhookChange) -> WebhookView:
        """Change it, disable it, or enable it again; what is left out stays."""
        return await self._webhooks.change(webhook, body)

    async def remove(self, webhook: WebhookId) -> None:
        """Nothing is sent there any more, and its deliveries are forgotten."""
        await self._webhooks.remove(webhook)

    async def renew_secret(self, webhook: WebhookId) -> NewWebhook:
        """A new secret signs from now on, what waits too. It is shown this once."""
        return await self._webhooks.renew_secret(webhook)

    async def test(self, webhook: WebhookId) -> TrialOutcome:
        """Post a message of the type `webhook.test` at once.

        Whether it was taken is part of the answer, not an error of it.
        """
        return await self._webhooks.test(webhook)

    async def deliveries(self, webhook: WebhookId, query: DeliveryQuery) -> DeliveryPage:
        """What was, is and could not be delivered, newest first."""
        return await self._webhooks.page(webhook, query)

    async def delivery(self, webhook: WebhookId, delivery: ResourceId) -> DeliveryDetails:
        """One delivery: what is sent, and every attempt."""
        return await self._webhooks.details(webhook, delivery)

    async def resend(self, webhook: WebhookId, delivery: ResourceId) -> DeliveryView:
        """Send it again, whether it was taken or given up; it is tried for a day."""
        return await self._webhooks.resend(webhook, delivery)

    async def resend_dead(self, webhook: WebhookId) -> Resent:
        """Send everything again that was given up."""
        return Resent(queued=await self._webhooks.resend_dead(webhook))
