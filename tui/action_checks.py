"""Why an action is not possible just now, for the person who pressed its key; empty: it is."""

from __future__ import annotations

from typing import Final

from appliance.model import SessionState
from tui.action import Situation
from tui.text import _


def live(situation: Situation) -> str:
    return "" if situation.live else _("The appliance cannot be reached: nothing can be changed until it is back.")


def rights(situation: Situation) -> str:
    return situation.read_only


def target(situation: Situation) -> str:
    return "" if situation.targets else _("No session is under the cursor.")


def one(situation: Situation) -> str:
    return "" if len(situation.targets) <= 1 else _("Only one session at a time: take the marks off (Esc).")


def subject(situation: Situation) -> str:
    return "" if situation.subject else _("Nothing is under the cursor.")


def idle(situation: Situation) -> str:
    return _("Room is being made already: wait for it, or stop it (c).") if situation.subject else ""


def pruning(situation: Situation) -> str:
    return "" if situation.subject else _("Nothing is being deleted just now.")


def examine(situation: Situation) -> str:
    """The doctor reads more than others may see; it changes nothing."""
    return situation.read_only if situation.only_looks else ""


def can_start(situation: Situation) -> str:
    views = situation.targets
    if all(view.state in (SessionState.NEW, SessionState.NEEDS_PAIRING) for view in views):
        return _("It is not linked: pair it first (p).")
    running = all(view.wanted and view.state not in _AGAIN for view in views)
    return _("It is running already.") if running else ""


def can_stop(situation: Situation) -> str:
    stopped = all(view.state is SessionState.STOPPED or not view.wanted for view in situation.targets)
    return _("It does not run.") if stopped else ""


def can_restart(situation: Situation) -> str:
    return "" if any(view.wanted for view in situation.targets) else _("It does not run: start it (s).")


_AGAIN: Final = frozenset(
    {
        SessionState.RECONNECTING,
        SessionState.COOLING,
        SessionState.REPLACED,
        SessionState.FAILED,
        SessionState.BANNED,
        SessionState.OUTDATED,
    }
)
"""States in which a start is a new try, or the next one at once, although the session is wanted."""
