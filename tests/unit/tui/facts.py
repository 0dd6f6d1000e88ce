"""Sessions and events as the tests of the interface need them."""

from __future__ import annotations

from typing import Any

from appliance.model import ADVICE, EventView, SessionState, SessionView
from tui.demo_fleet import Fleet
from tui.paint import RICH_GLYPHS
from tui.scene import Scene
from tui.store import Snapshot, Store

NOW = 1_790_000_000.0
"""2026-09-21 14:13:20 UTC."""


def session(name: str, /, state: SessionState = SessionState.ONLINE, **changes: Any) -> SessionView:
    values: dict[str, Any] = {
        "id": name.lower(),
        "name": name,
        "state": state,
        "meaning": ADVICE[state].meaning,
        "remedy": ADVICE[state].remedy,
        "since": NOW - 3600,
        "created_at": NOW - 90_000,
        "wanted": state is not SessionState.STOPPED,
        "generation": 1,
        "node_id": "n",
        "phone": "+22177······12",
    }
    return SessionView(**{**values, **changes})


def event(seq: int, kind: str = "session.state", session: str | None = "awa", **data: Any) -> EventView:
    return EventView(seq=seq, at=NOW + seq, type=kind, session=session, data=data)


def store_of(*sessions: SessionView, seq: int = 0) -> Store:
    store = Store()
    store.load(Snapshot(status=Fleet(0, now=NOW).status(), sessions=sessions, seq=seq), NOW)
    return store


def scene_of(*sessions: SessionView, **changes: Any) -> Scene:
    return Scene(store=store_of(*sessions), now=NOW, glyphs=RICH_GLYPHS, **changes)
