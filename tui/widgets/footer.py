"""The two lines at the bottom: keys that do something here, what has just happened, whether the picture is live."""

from __future__ import annotations

import time
from typing import Final

from tui import actions
from tui.actions import Situation
from tui.paint import Ground, Line, Pen, Tone, rule, width_of
from tui.scene import Scene
from tui.store import Link
from tui.text import _
from tui.widgets.canvas import Canvas
from tui.words import clock

MESSAGE_S: Final = 5.0
"""How long it is said what has happened."""
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
        self._until = 0.0

    def say(self, text: str, tone: Tone) -> None:
        self._message, self._until = (text, tone), time.monotonic() + MESSAGE_S
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        if self._message is not None and time.monotonic() >= self._until:
            self._message = None
        top = rule(width, scene.glyphs)
        if self._message is not None:
            text, tone = self._message
            return [top, Pen(scene.glyphs).put(f" {text}", tone).line(width, Ground.RAISED)][:height]
        return [top, keys(scene, self.tui.situation(), width)][:height]


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
