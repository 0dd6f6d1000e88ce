"""What can be done on every screen: going to another one, help, the palette, leaving."""

from __future__ import annotations

from typing import Final

from tui.action import Action, Place
from tui.action_checks import live
from tui.text import N_


def _go(number: int, place: Place, label: str, text: str) -> Action:
    return Action(
        id=f"go-{place}",
        keys=(str(number),),
        shown=str(number),
        label=label,
        help=text,
        places=(Place.EVERYWHERE,),
    )


EVERYWHERE: Final[tuple[Action, ...]] = (
    Action(
        id="back",
        keys=("escape", "backspace"),
        shown="Esc",
        label=N_("back"),
        help=N_("Close this; on the list: take off marks and filter."),
        places=(Place.EVERYWHERE,),
    ),
    _go(1, Place.SESSIONS, N_("sessions"), N_("Every session in one line: who needs somebody?")),
    _go(2, Place.PAIRING, N_("pairing"), N_("Codes, QR codes, and the queue of those who wait to be linked.")),
    _go(3, Place.STORAGE, N_("storage"), N_("How full it is, whose it is, and making room.")),
    _go(4, Place.HISTORY, N_("history"), N_("Disconnections by hour, reason and session; how fast all were back.")),
    _go(5, Place.ALERTS, N_("alerts"), N_("What is alarming, and what to do about it.")),
    _go(6, Place.LOG, N_("log"), N_("What everybody says: the daemon, the sessions, and what happened.")),
    _go(7, Place.SYSTEM, N_("system"), N_("Memory and CPU of every part, Redis, store, engine, and the doctor.")),
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
        checks=(live,),
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
