"""Captured items as a worker describes them, where their details do not matter."""

from __future__ import annotations

from appliance.model import MediaKind
from appliance.protocol import SpoolItem


def captured(name: str, session: str = "one", sha256: str = "00") -> SpoolItem:
    """A status of one byte; `name` is that of the item and of its message."""
    return SpoolItem(
        item=name,
        session=session,
        category="statuses",
        kind=MediaKind.IMAGE,
        mimetype="image/jpeg",
        sha256=sha256,
        size=1,
        message_id=name,
        chat="status@broadcast",
        sender="1@lid",
        sent_at=0.0,
        captured_at=0.0,
    )
