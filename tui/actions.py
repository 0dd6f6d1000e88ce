"""Everything that can be done, asked of one table: keys, footer, help, palette and the documentation are made of it."""

from __future__ import annotations

from collections.abc import Iterator

from tui.action import Action, Place, Situation
from tui.action_table import ACTIONS

__all__ = ["ACTIONS", "Action", "Place", "Situation", "by_id", "find", "footer", "offered"]


def find(key: str, place: Place) -> Action | None:
    """What a key does on a screen; an action of this very screen comes before one that is everywhere."""
    found = [action for action in ACTIONS if key in action.keys and action.offered(place)]
    return next((action for action in found if place in action.places), found[0] if found else None)


def by_id(action_id: str) -> Action:
    return next(action for action in ACTIONS if action.id == action_id)


def offered(place: Place) -> Iterator[Action]:
    """What a screen offers, its own first."""
    yield from (action for action in ACTIONS if place in action.places)
    yield from (action for action in ACTIONS if Place.EVERYWHERE in action.places)


def footer(place: Place) -> list[Action]:
    """In the order of the footer."""
    return sorted((action for action in offered(place) if action.rank), key=lambda action: action.rank)
