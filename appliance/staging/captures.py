"""What a perfect appliance has stored by now, worked out from the journal alone."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.model import Category, MediaKind
from appliance.staging.control_types import CaptureDue, JournalKind
from appliance.staging.store import Store

_EVERYTHING: Final = 10_000_000
"""More entries than a journal ever has."""


def captures_due(store: Store, account: str) -> list[CaptureDue]:
    """Statuses, view-once media that came with their content or were answered with the trigger, and what was deleted.

    One entry for each message and category, in the order in which they became due. Statuses in text are entries too
    (kind `text`). Deleted statuses are not due a second time, nor is anything that the account's own phone wrote.
    """
    rows = store.entries(
        "account = ? AND kind IN (?, ?)", (account, JournalKind.SENT, JournalKind.RECEIPTED), _EVERYTHING
    )
    sent: dict[str, dict[str, object]] = {}
    receipted: dict[str, float] = {}
    due: dict[tuple[str, str], str] = {}
    for _, at, kind, _, _, message_id, data in rows:
        if kind == JournalKind.RECEIPTED:
            receipted.setdefault(message_id, at)
            continue
        values = msgspec.json.decode(data)
        sent[message_id] = values
        category = values["category"]
        if category:
            content_id = values.get("revokes") or values.get("quotes") or message_id
            if content_id in sent:
                due.setdefault((category, content_id), message_id)
    found = []
    for (category, content_id), due_by in due.items():
        content = sent[content_id]
        needed = [due_by] if category == Category.VIEW_ONCE else [content_id, due_by]
        times = [receipted.get(message_id) for message_id in needed]
        found.append(
            CaptureDue(
                account=account,
                category=Category(category),
                kind=MediaKind(str(content["kind"])),
                message_id=content_id,
                due_by=due_by,
                sha256=str(content["sha256"]),
                size=int(str(content["size"])),
                receipted_at=None if None in times else max(time for time in times if time is not None),
            )
        )
    return found
