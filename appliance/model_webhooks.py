"""Bodies of the API about webhooks, and the body that a webhook's receiver gets.

Times are seconds since the epoch, UTC; durations are seconds.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from appliance.model_api import SessionId

CHOICES_MAX: Final = 100
"""More types or sessions than there are can only be a mistake."""
_ID: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
WebhookId = Annotated[str, Meta(pattern=_ID, description="Lower case letters, digits and inner dashes; 32 at most.")]
WebhookUrl = Annotated[str, Meta(pattern=r"^https?://[!-~]{1,1990}$", description="Where events are posted to.")]
EventChoice = Annotated[
    str, Meta(pattern=r"^[a-z_]{1,20}(\.[a-z_]{1,20})?$", description="A type of event, or the kind before its dot.")
]
Choices = Annotated[list[EventChoice], Meta(max_length=CHOICES_MAX)]
Sessions = Annotated[list[SessionId], Meta(max_length=CHOICES_MAX)]


class WebhookMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted: one event, as JSON. Every attempt to deliver it sends the same body."""

    id: str
    """Of the delivery. It may arrive more than once (after a crash, or when it is sent again): heed it once."""
    webhook: str
    seq: int
    """Number of the event. It only grows, but deliveries that were repeated arrive out of order."""
    at: float
    type: str
    session: str | None = None
    data: dict[str, object] = msgspec.field(default_factory=dict)


class WebhookRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: WebhookId
    """Chosen by the caller, and unique."""
    url: WebhookUrl
    events: Choices = []
    """Only these types, `media.stored`, or kinds, `media`; none: all."""
    sessions: Sessions = []
    """Only events of these sessions; none: all, and those that concern no session."""
    enabled: bool = True


class WebhookChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given is changed, the rest stays."""

    url: WebhookUrl | msgspec.UnsetType = msgspec.UNSET
    events: Choices | msgspec.UnsetType = msgspec.UNSET
    sessions: Sessions | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    """A webhook that is not enabled gets nothing, and what happens meanwhile is not kept for it; what was waiting goes
    on to wait."""


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str
    """Scheme and host; the rest may be a secret."""
    events: list[str]
    sessions: list[str]
    enabled: bool
    reason: str
    """Why it is not enabled, if nobody wanted that."""
    created_at: float
    created_by: str
    waiting: int
    """Deliveries that are still tried, …"""
    dead: int
    """… and that were given up; they can be sent again."""
    delivered_at: float | None
    """When something was last taken there."""
    error: str
    """Why the latest attempt failed; empty: it did not."""


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` signs what is sent there; it is shown this once."""

    secret: str
    details: WebhookView


class WebhookList(msgspec.Struct, frozen=True, kw_only=True):
    webhooks: list[WebhookView]


class DeliveryState(enum.StrEnum):
    WAITING = "waiting"
    """It is tried, again and again for a day."""
    DELIVERED = "delivered"
    """The receiver answered with 2xx."""
    DEAD = "dead"
    """Given up."""


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    webhook: str
    seq: int
    type: str
    session: str | None
    state: DeliveryState
    created_at: float
    due_at: float | None
    """When it is tried next; None: not any more."""
    ended_at: float | None
    attempts: int
    """Since it was queued last."""
    status: int | None
    """Of the latest answer; None: there was none."""
    error: str


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first. `next` is the `before` of the following page; None on the last one."""

    items: list[DeliveryView]
    next: int | None


class DeliveryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state: DeliveryState | None = None
    before: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to deliver. `status`: of the answer; None: there was none."""

    at: float
    took_s: float
    status: int | None
    error: str


class DeliveryDetails(msgspec.Struct, frozen=True, kw_only=True):
    delivery: DeliveryView
    message: WebhookMessage
    """What is sent."""
    attempts: list[AttemptView]
    """Oldest first."""


class Resent(msgspec.Struct, frozen=True, kw_only=True):
    queued: int
    """How many were given up and are tried again now."""
