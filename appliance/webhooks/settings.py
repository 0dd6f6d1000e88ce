"""How webhooks are told, for how long, and where they may lead: every number with its reason.

The settings file embeds this struct; all of it can be changed while the daemon runs.
Imports nothing of ours: the settings must be readable without the rest of the daemon.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Raises ValueError for a network that is none."""

    private_networks: Annotated[
        tuple[str, ...],
        Meta(description="Networks that webhooks may lead into although they are private, as 127.0.0.1 or 10.0.0.0/8."),
    ] = ()
    """Empty as shipped: who may make webhooks must not be able to speak to what only this machine can reach."""
    limit: Annotated[Count, Meta(description="Webhooks that may exist.")] = 20
    """Each has a line of its own and at most one request on the way."""
    timeout_s: Annotated[Seconds, Meta(description="A receiver must have answered within this.")] = 10
    """It should take note and answer, and do the work afterwards."""
    base_s: Annotated[Seconds, Meta(description="Pause after a failed attempt; it doubles each time, jittered.")] = 5
    cap_s: Annotated[Seconds, Meta(description="Longest pause between two attempts.")] = 3600
    give_up_s: Annotated[Seconds, Meta(description="A delivery that nobody takes for so long is given up.")] = 86_400
    """A back end that was down overnight gets everything; then somebody has to look, and can send it again."""
    keep_days: Annotated[Count, Meta(description="Deliveries that have ended are deleted after so many days.")] = 14

    def __post_init__(self) -> None:
        self.networks()

    def networks(self) -> tuple[Network, ...]:
        """`private_networks` as networks. Raises ValueError."""
        try:
            return tuple(ipaddress.ip_network(text) for text in self.private_networks)
        except ValueError as error:
            raise ValueError(f"private_networks: {error}; write addresses or networks, as 10.0.0.0/8") from None
