"""The table of event types is complete: subscribers and webhooks choose from it."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.model_events import EVENT_TYPES
from appliance.model_history import AlertPhase

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = re.compile(r'publish\(\s*f?"([a-z_]+\.[a-z_{}.]+)"')


def published() -> set[str]:
    """Every type that the code publishes; those of alerts are made of their phases."""
    found: set[str] = set()
    for path in (ROOT / "appliance").rglob("*.py"):
        found.update(PUBLISHED.findall(path.read_text()))
    assert "alert.{alert.phase}" in found, "the pattern of this test still finds what is published"
    phases = {f"alert.{phase}" for phase in AlertPhase if phase is not AlertPhase.PENDING}
    return (found - {"alert.{alert.phase}"}) | phases


def test_what_is_published_is_in_the_table_and_nothing_else() -> None:
    assert published() == set(EVENT_TYPES), "declare the type in model_events.EVENT_TYPES"
    assert list(EVENT_TYPES) == sorted(EVENT_TYPES)
