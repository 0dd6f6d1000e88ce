"""The client's calls about webhooks; `client.ApplianceClient` has them all."""

from __future__ import annotations

from appliance.client_wire import Calls
from appliance.model_events import EventType, EventTypeList
from appliance.model_history import TrialOutcome
from appliance.model_webhooks import (
    DeliveryDetails,
    DeliveryPage,
    DeliveryState,
    DeliveryView,
    NewWebhook,
    Resent,
    WebhookChange,
    WebhookList,
    WebhookRequest,
    WebhookView,
)


class WebhookCalls(Calls):
    """Mixed into the client, which says how a request is made."""

    async def webhooks(self) -> list[WebhookView]:
        return (await self._call("GET", "/v1/webhooks", WebhookList)).webhooks

    async def webhook(self, webhook: str) -> WebhookView:
        return await self._call("GET", f"/v1/webhooks/{webhook}", WebhookView)

    async def create_webhook(self, request: WebhookRequest) -> NewWebhook:
        """The secret is in this answer and nowhere else."""
        return await self._call("POST", "/v1/webhooks", NewWebhook, request)

    async def change_webhook(self, webhook: str, change: WebhookChange) -> WebhookView:
        """What is unset stays."""
        return await self._call("PATCH", f"/v1/webhooks/{webhook}", WebhookView, change)

    async def remove_webhook(self, webhook: str) -> None:
        async with self._request("DELETE", f"/v1/webhooks/{webhook}", {}):
            pass

    async def renew_webhook_secret(self, webhook: str) -> NewWebhook:
        """The new secret is in this answer and nowhere else."""
        return await self._call("POST", f"/v1/webhooks/{webhook}/secret", NewWebhook)

    async def test_webhook(self, webhook: str) -> TrialOutcome:
        """Post a test message at once."""
        return await self._call("POST", f"/v1/webhooks/{webhook}/test", TrialOutcome)

    async def deliveries(
        self, webhook: str, *, state: DeliveryState | None = None, before: int | None = None, limit: int = 50
    ) -> DeliveryPage:
        """One page, newest first."""
        values = {"state": state, "before": before, "limit": limit}
        query = {name: str(value) for name, value in values.items() if value is not None}
        return await self._call("GET", f"/v1/webhooks/{webhook}/deliveries", DeliveryPage, None, query)

    async def delivery(self, webhook: str, delivery: str) -> DeliveryDetails:
        return await self._call("GET", f"/v1/webhooks/{webhook}/deliveries/{delivery}", DeliveryDetails)

    async def resend(self, webhook: str, delivery: str) -> DeliveryView:
        """One delivery, whether it was taken or given up."""
        return await self._call("POST", f"/v1/webhooks/{webhook}/deliveries/{delivery}/resend", DeliveryView)

    async def resend_dead(self, webhook: str) -> int:
        """All that were given up; how many."""
        return (await self._call("POST", f"/v1/webhooks/{webhook}/resend", Resent)).queued

    async def event_types(self) -> list[EventType]:
        """What can be subscribed to."""
        return (await self._call("GET", "/v1/events/types", EventTypeList)).types
