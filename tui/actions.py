"""Everything that can be done, in one table: keys, footer, help, palette and the documentation are made of it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from appliance.model import SessionState, SessionView
from tui.text import N_, _


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
    read_only: bool = False


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


# ---- why something is not possible ----------------------------------------------------------------------------------


def _live(situation: Situation) -> str:
    return "" if situation.live else _("The appliance cannot be reached: nothing can be changed until it is back.")


def _rights(situation: Situation) -> str:
    return _("You may look, but not change anything here.") if situation.read_only else ""


def _target(situation: Situation) -> str:
    return "" if situation.targets else _("No session is under the cursor.")


def _one(situation: Situation) -> str:
    return "" if len(situation.targets) <= 1 else _("Only one session at a time: take the marks off (Esc).")


def _subject(situation: Situation) -> str:
    return "" if situation.subject else _("Nothing is under the cursor.")


def _can_start(situation: Situation) -> str:
    views = situation.targets
    if all(view.state in (SessionState.NEW, SessionState.NEEDS_PAIRING) for view in views):
        return _("It is not linked: pair it first (p).")
    running = all(view.wanted and view.state not in _AGAIN for view in views)
    return _("It is running already.") if running else ""


def _can_stop(situation: Situation) -> str:
    stopped = all(view.state is SessionState.STOPPED or not view.wanted for view in situation.targets)
    return _("It does not run.") if stopped else ""


def _can_restart(situation: Situation) -> str:
    return "" if any(view.wanted for view in situation.targets) else _("It does not run: start it (s).")


_AGAIN: Final = frozenset({SessionState.COOLING, SessionState.REPLACED, SessionState.FAILED, SessionState.BANNED})
"""States in which a start is a new try although the session is wanted."""
_CHANGE: Final[tuple[Check, ...]] = (_rights, _live)
_ON_SESSIONS: Final = (Place.SESSIONS, Place.SESSION)
_LISTS: Final = (Place.SESSIONS, Place.HISTORY, Place.STORAGE, Place.ALERTS, Place.PAIRING)


def _go(number: int, place: Place, label: str, text: str) -> Action:
    return Action(
        id=f"go-{place}",
        keys=(str(number),),
        shown=str(number),
        label=label,
        help=text,
        places=(Place.EVERYWHERE,),
    )


ACTIONS: Final[tuple[Action, ...]] = (
    Action(
        id="open",
        keys=("enter",),
        shown="⏎",
        label=N_("open"),
        help=N_("Everything about the session under the cursor."),
        places=(Place.SESSIONS, Place.HISTORY, Place.STORAGE, Place.ALERTS),
        checks=(_target,),
        rank=1,
    ),
    Action(
        id="back",
        keys=("escape", "backspace"),
        shown="Esc",
        label=N_("back"),
        help=N_("Close this; on the list: take off marks and filter."),
        places=(Place.EVERYWHERE,),
    ),
    Action(
        id="pair",
        keys=("p",),
        shown="p",
        label=N_("pair"),
        help=N_("Link the session to a WhatsApp account, by code or by QR code."),
        places=_ON_SESSIONS,
        checks=(*_CHANGE, _target, _one),
        rank=2,
    ),
    Action(
        id="restart",
        keys=("r",),
        shown="r",
        label=N_("restart"),
        help=N_("End the session's process and start it anew; its login stays."),
        places=_ON_SESSIONS,
        checks=(*_CHANGE, _target, _can_restart),
        rank=3,
    ),
    Action(
        id="start",
        keys=("s",),
        shown="s",
        label=N_("start"),
        help=N_("Let the session run, now if it pauses; its messages were kept at WhatsApp meanwhile."),
        places=_ON_SESSIONS,
        checks=(*_CHANGE, _target, _can_start),
        rank=4,
    ),
    Action(
        id="stop",
        keys=("S",),
        shown="S",
        label=N_("stop"),
        help=N_("Stop the session until somebody starts it; it stays linked."),
        places=_ON_SESSIONS,
        checks=(*_CHANGE, _target, _can_stop),
        rank=5,
    ),
    Action(
        id="mark",
        keys=("space",),
        shown="␣",
        label=N_("mark"),
        help=N_("Mark or unmark; what is done next is done to all that are marked."),
        places=(Place.SESSIONS,),
        checks=(_target,),
        rank=6,
    ),
    Action(
        id="mark-all",
        keys=("a",),
        shown="a",
        label=N_("mark all"),
        help=N_("Mark every session that the list shows."),
        places=(Place.SESSIONS,),
    ),
    Action(
        id="sort",
        keys=("o",),
        shown="o",
        label=N_("sort"),
        help=N_("Sort by the next column; a click on its title does it too."),
        places=(Place.SESSIONS, Place.HISTORY, Place.STORAGE),
        rank=7,
    ),
    Action(
        id="reverse",
        keys=("O",),
        shown="O",
        label=N_("reverse"),
        help=N_("Turn the order round."),
        places=(Place.SESSIONS, Place.HISTORY, Place.STORAGE),
    ),
    Action(
        id="copy",
        keys=("y",),
        shown="y",
        label=N_("copy"),
        help=N_("Copy the session's name, or the code that is shown, to the clipboard (OSC 52)."),
        places=(Place.SESSIONS, Place.SESSION, Place.PAIRING),
        rank=8,
    ),
    Action(
        id="log",
        keys=("l",),
        shown="l",
        label=N_("log"),
        help=N_("The log of the session's process, as it is written."),
        places=(*_ON_SESSIONS, Place.HISTORY),
        checks=(_target, _live),
        rank=9,
    ),
    Action(
        id="new",
        keys=("n",),
        shown="n",
        label=N_("new"),
        help=N_("Create a session; then pair it."),
        places=(Place.SESSIONS,),
        checks=_CHANGE,
    ),
    Action(
        id="remove",
        keys=("D",),
        shown="D",
        label=N_("remove"),
        help=N_("Unlink the device at WhatsApp and forget the session; what it has captured stays."),
        places=_ON_SESSIONS,
        checks=(*_CHANGE, _target, _one),
    ),
    Action(
        id="cancel-pairing",
        keys=("c",),
        shown="c",
        label=N_("cancel"),
        help=N_("Give up the linking attempt under the cursor."),
        places=(Place.PAIRING,),
        checks=(*_CHANGE, _subject),
        rank=3,
    ),
    Action(
        id="qr",
        keys=("Q",),
        shown="Q",
        label=N_("QR code"),
        help=N_("Ask for a QR code instead of the code, or the other way round."),
        places=(Place.PAIRING,),
        checks=(*_CHANGE, _subject),
        rank=4,
    ),
    Action(
        id="prune",
        keys=("x",),
        shown="x",
        label=N_("make room"),
        help=N_("Delete what is too old or too much; what would go is shown first."),
        places=(Place.STORAGE,),
        checks=_CHANGE,
        rank=1,
    ),
    Action(
        id="acknowledge",
        keys=("a",),
        shown="a",
        label=N_("acknowledge"),
        help=N_("Somebody takes care of it: it is not told again."),
        places=(Place.ALERTS,),
        checks=(*_CHANGE, _subject),
        rank=1,
    ),
    Action(
        id="silence",
        keys=("m",),
        shown="m",
        label=N_("mute"),
        help=N_("Nothing of this kind is told for an hour."),
        places=(Place.ALERTS,),
        checks=(*_CHANGE, _subject),
        rank=2,
    ),
    Action(
        id="section",
        keys=("tab", "right"),
        shown="Tab",
        label=N_("next part"),
        help=N_("Overview, disconnections, media, settings, log."),
        places=(Place.SESSION,),
        rank=1,
    ),
    Action(
        id="section-back",
        keys=("shift+tab", "left"),
        shown="⇧Tab",
        label=N_("part before"),
        help=N_("The same in reverse."),
        places=(Place.SESSION,),
    ),
    Action(
        id="range",
        keys=("w",),
        shown="w",
        label=N_("time"),
        help=N_("Since yesterday, the last 7 days, the last 30 days."),
        places=(Place.HISTORY,),
        rank=2,
    ),
    Action(
        id="reason",
        keys=("e",),
        shown="e",
        label=N_("reason"),
        help=N_("Only the most frequent reason, or all again."),
        places=(Place.HISTORY,),
        rank=3,
    ),
    Action(
        id="filter",
        keys=("slash",),
        shown="/",
        label=N_("filter"),
        help=N_("Show only what contains these words: name, number, state."),
        places=_LISTS,
        rank=10,
    ),
    Action(
        id="problems",
        keys=("exclamation_mark",),
        shown="!",
        label=N_("problems"),
        help=N_("Show only what is not well, or everything again."),
        places=(Place.SESSIONS,),
        rank=11,
    ),
    _go(1, Place.SESSIONS, N_("sessions"), N_("Every session in one line: who needs somebody?")),
    _go(2, Place.PAIRING, N_("pairing"), N_("Codes, QR codes, and the queue of those who wait to be linked.")),
    _go(3, Place.STORAGE, N_("storage"), N_("How full it is, whose it is, and making room.")),
    _go(4, Place.HISTORY, N_("history"), N_("Disconnections by hour, reason and session; how fast all were back.")),
    _go(5, Place.ALERTS, N_("alerts"), N_("What is alarming, and what to do about it.")),
    Action(
        id="palette",
        keys=("colon", "ctrl+p"),
        shown=":",
        label=N_("everything"),
        help=N_("Find any action by its name."),
        places=(Place.EVERYWHERE,),
        rank=12,
    ),
    Action(
        id="help",
        keys=("question_mark", "f1"),
        shown="?",
        label=N_("help"),
        help=N_("All keys of this screen, and why some are off."),
        places=(Place.EVERYWHERE,),
        rank=13,
    ),
    Action(
        id="pause",
        keys=("z",),
        shown="z",
        label=N_("pause"),
        help=N_("Hold the picture still; what happens meanwhile is shown afterwards."),
        places=(Place.EVERYWHERE,),
    ),
    Action(
        id="theme",
        keys=("T",),
        shown="T",
        label=N_("theme"),
        help=N_("Dark, light, high contrast, no colour."),
        places=(Place.EVERYWHERE,),
    ),
    Action(
        id="refresh",
        keys=("ctrl+r", "f5"),
        shown="F5",
        label=N_("read again"),
        help=N_("Ask the appliance for everything anew."),
        places=(Place.EVERYWHERE,),
        checks=(_live,),
    ),
    Action(
        id="quit",
        keys=("q", "ctrl+c", "ctrl+q"),
        shown="q",
        label=N_("quit"),
        help=N_("Leave. Every session goes on running: this only looks."),
        places=(Place.EVERYWHERE,),
    ),
)


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
