"""Every type of event that the appliance tells of: what subscribers and webhooks can choose from.

A type that is not in this table is not published: a test holds the code to it.
"""

from __future__ import annotations

from typing import Final

import msgspec

EVENT_TYPES: Final[dict[str, str]] = {
    "alert.acknowledged": "Somebody takes care of an alert.",
    "alert.down": "Something has become alarming.",
    "alert.up": "What was alarming is well again.",
    "appliance.started": "The daemon has started.",
    "media.lost": "Stored media is missing from the store, and is no longer listed.",
    "media.note": "A message was noted whose media could not be captured, and why.",
    "media.pruned": "Stored media was removed to make room, or because of its age.",
    "media.refused": "Captured media was given up: there was no room for too long.",
    "media.set_aside": "A captured item is damaged and was set aside.",
    "media.stored": "A status, a deleted message or view-once media was stored; `id` is its id.",
    "pairing.state": "An attempt to link a session has got on, or ended.",
    "session.state": "A session's state or its explanation has changed.",
    "settings.changed": "New settings are in force.",
    "settings.refused": "The settings file cannot be used; the settings from before stay in force.",
    "storage.away": "The media store does not answer.",
    "storage.back": "The media store answers again.",
    "webhook.disabled": "A webhook's receiver said that it is gone; nothing is sent there any more.",
}
"""In the order of their names; the part before the dot names a kind."""
NOT_FOR_WEBHOOKS: Final = "webhook."
"""Types that begin so are told to no webhook: one that fails would otherwise cause more to be sent to all others."""


class EventType(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    meaning: str


class EventTypeList(msgspec.Struct, frozen=True, kw_only=True):
    types: list[EventType]


def event_types() -> list[EventType]:
    """The table, for those who ask."""
    return [EventType(type=name, meaning=meaning) for name, meaning in EVENT_TYPES.items()]


def chosen_by(choice: str, kind: str) -> bool:
    """Whether a choice, which is a type or the kind before its dot, chooses an event of that type.

    >>> [chosen_by("media", one) for one in ("media.stored", "media", "mediator.back")]
    [True, True, False]
    """
    return kind == choice or kind.startswith(f"{choice}.")


def unknown_choice(choice: str) -> bool:
    """Whether it chooses nothing that there is: a misspelt one would wait for ever."""
    return not any(chosen_by(choice, kind) for kind in EVENT_TYPES)
