"""How a line of a log looks, among those of everybody or of one session alone. Pure."""

from __future__ import annotations

from typing import Final

from appliance.model_history import LogLevel
from tui.logbook import Row, who_word
from tui.paint import Ground, Line, Pen, Tone, plain, rule, wrapped
from tui.scene import Scene
from tui.words import clock, moment

WHOLE_LINES: Final = 4
"""Of the line under the cursor, shown whole below."""
_SIGNS: Final = {"error": ("bad", Tone.BAD), "critical": ("bad", Tone.BAD), "warning": ("half", Tone.WARN)}
_WHO: Final = 13


def row_line(row: Row, cursor: int | None, scene: Scene, names: dict[str, str], width: int) -> Line:
    """Time, how serious by sign, who, what; cut at the edge."""
    sign, tone = _SIGNS.get(row.level, ("dot", Tone.DIM))
    if row.event and row.level not in _SIGNS:
        sign, tone = "arrow", Tone.INFO
    chosen = row.number == cursor
    pen = Pen(scene.glyphs).put(scene.glyphs.cursor if chosen else " ", Tone.ACCENT)
    pen.cell(moment(row.at, scene.now) if width >= 100 else clock(row.at), 14 if width >= 100 else 9, Tone.DIM)
    pen.put(getattr(scene.glyphs, sign) + " ", tone).cell(who_word(row, names), _WHO, Tone.STRONG).put(" ")
    return pen.put(row.text, _tone(row)).line(width, Ground.CURSOR if chosen else Ground.PLAIN)


def log_line(row: Row, scene: Scene, width: int) -> Line:
    """The same for one session alone, so without who."""
    sign, tone = _SIGNS.get(row.level, ("dot", Tone.DIM))
    pen = Pen(scene.glyphs).put(" ").cell(moment(row.at, scene.now), 14, Tone.DIM)
    return pen.put(getattr(scene.glyphs, sign) + " ", tone).put(row.text, _tone(row)).line(width)


def _tone(row: Row) -> Tone:
    if row.level in _SIGNS:
        return _SIGNS[row.level][1]
    return Tone.DIM if row.level == LogLevel.DEBUG else Tone.TEXT


def whole(row: Row, scene: Scene, names: dict[str, str], width: int) -> list[Line]:
    """The line under the cursor without being cut, as far as there is room."""
    title = f"{moment(row.at, scene.now)} {scene.glyphs.dot} {who_word(row, names)} {scene.glyphs.dot} {row.level}"
    texts = wrapped(row.text, width - 2)[:WHOLE_LINES]
    return [rule(width, scene.glyphs, title), *(plain(f" {text}", width) for text in texts)]
