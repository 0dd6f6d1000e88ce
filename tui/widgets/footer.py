"""The lines at the bottom: keys that do something here, or what has just happened; whether the picture is live."""

from __future__ import annotations

import time
from typing import Final

from tui import actions
from tui.actions import Situation
from tui.paint import Ground, Line, Pen, Tone, rule, width_of, wrapped
from tui.scene import Scene
from tui.store import Link
from tui.text import _
from tui.widgets.canvas import Canvas
from tui.words import clock

MESSAGE_S: Final = 5.0
"""How long it is said what has happened, if that takes one row."""
MORE_MESSAGE_S: Final = 2.5
"""And so much longer for each further row: sixty cells of text are read in about that time."""
_MOST_OF_SCREEN: Final = 1 / 3
"""A message may take so much of the rows, and is cut beyond that: a sentence of ours and its remedy fit at 60×20."""
_ALWAYS: Final = "help"
"""The key that leads to all others is never left out."""
_ROOM_FOR_KEYS: Final = 40
"""If the right side leaves less than this, it gives way."""


class Footer(Canvas):
    """`message`: said instead of the keys for a while."""

    DEFAULT_CSS = "Footer { dock: bottom; height: 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._message: tuple[str, Tone] | None = None
        self._said_at = 0.0

    def say(self, text: str, tone: Tone) -> None:
        self._message, self._said_at = (text, tone), time.monotonic()
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        lines = self._message_lines(width)
        if lines and time.monotonic() >= self._said_at + MESSAGE_S + MORE_MESSAGE_S * (len(lines) - 1):
            self._message, lines = None, []
        lines = lines or [keys(scene, self.tui.situation(), width)]
        self.take(1 + len(lines))
        return [rule(width, scene.glyphs), *lines][:height]

    def _message_lines(self, width: int) -> list[Line]:
        if self._message is None:
            return []
        text, tone = self._message
        rows = wrapped(text, width - 2)
        most = max(1, int(self.tui.size.height * _MOST_OF_SCREEN))
        if len(rows) > most:
            rows = [*rows[: most - 1], " ".join(rows[most - 1 :])]
        glyphs = self.tui.scene.glyphs
        return [Pen(glyphs).put(f" {row}", tone).line(width, Ground.RAISED) for row in rows]


def keys(scene: Scene, situation: Situation, width: int) -> Line:
    """As many actions as there is room for; those that are off are dim."""
    pen = Pen(scene.glyphs)
    right = status_words(scene, width)
    room = width - width_of(right) - 2
    if room < _ROOM_FOR_KEYS:
        right, room = "", width - 1
    wanted = actions.footer(situation.place)
    sizes = {action.id: width_of(action.shown) + width_of(_(action.label)) + 3 for action in wanted}
    left = room - sizes[_ALWAYS]
    shown = []
    for action in wanted:
        if action.id != _ALWAYS:
            if sizes[action.id] > left:
                continue
            left -= sizes[action.id]
        shown.append(action)
    for action in shown:
        off = bool(action.why_off(situation))
        pen.put(f" {action.shown} ", Tone.OFF if off else Tone.KEY).put(
            _(action.label) + " ", Tone.OFF if off else Tone.TEXT
        )
    tone = Tone.OK if scene.store.link is Link.LIVE and not scene.paused else Tone.WARN
    return pen.to(width - width_of(right) - 1).put(right, tone).line(width, Ground.RAISED)


def status_words(scene: Scene, width: int) -> str:
    """Live or not, the time, and on wide screens that leaving stops nothing."""
    if scene.paused:
        state = _("paused")
    elif scene.store.link is Link.LIVE:
        state = _("live")
    else:
        state = _("old")
    words = f"{state} {scene.glyphs.dot} {clock(scene.now)}"
    return f"{words} {scene.glyphs.dot} " + _("q leaves all running") if width >= 130 else words
