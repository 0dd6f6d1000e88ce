"""What the appliance says of itself is what the alerts are about."""

from __future__ import annotations

import pytest

from appliance.history.facts import Live, live_source
from appliance.interfaces import SessionControl
from appliance.model import SessionView
from appliance.model_api import DegradedPart, Readiness


class NoSessions(SessionControl):
    async def list(self) -> list[SessionView]:
        return []


async def live(part: str) -> Live:
    async def readiness() -> Readiness:
        return Readiness(ready=True, degraded=[DegradedPart(part=part, reason="broken", remedy="Mend it.")])

    return await live_source(NoSessions(), readiness)()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("part", "fact"),
    [
        ("forkserver", "fork_server"),
        ("media", "storage"),
        ("disk", "storage"),
        ("redis", "redis"),
        ("settings", "settings"),
        ("lease", "lease"),
    ],
)
async def test_what_is_degraded(part: str, fact: str) -> None:
    seen = await live(part)
    troubles = ("fork_server", "storage", "redis", "settings", "lease")
    assert {name: getattr(seen, name) for name in troubles} == dict.fromkeys(troubles, "") | {fact: "broken"}
