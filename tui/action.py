"""What an action is: where it is offered, what decides whether it is possible just now, and how it is shown."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import msgspec

from appliance.model import SessionView


class Place(enum.StrEnum):
    """Where an action is offered."""

    EVERYWHERE = "everywhere"
    SESSIONS = "sessions"
    SESSION = "session"
    PAIRING = "pairing"
    STORAGE = "storage"
    HISTORY = "history"
    ALERTS = "alerts"
    LOG = "log"
    SYSTEM = "system"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What decides whether an action is possible just now. `targets`: marked sessions, otherwise the one under the
    cursor. `subject`: something else under the cursor, as the screen calls it."""

    place: Place
    targets: Sequence[SessionView] = ()
    subject: str | None = None
    live: bool = True
    read_only: str = ""
    """Why nothing may be changed; empty: it may."""
    only_looks: bool = False
    """The appliance itself would refuse it."""


Check = Callable[[Situation], str]
"""Empty: possible; otherwise why not, for the person who pressed the key."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """`keys`: as the terminal library names them; `shown`: as people read them. `rank`: place in the footer, the
    lowest first; 0: not there."""

    id: str
    keys: tuple[str, ...]
    shown: str
    label: str
    help: str
    places: tuple[Place, ...]
    checks: tuple[Check, ...] = ()
    rank: int = 0

    def why_off(self, situation: Situation) -> str:
        """Why it is not possible just now; empty: it is."""
        return next((reason for check in self.checks if (reason := check(situation))), "")

    def offered(self, place: Place) -> bool:
        return place in self.places or Place.EVERYWHERE in self.places
