"""The list of sessions as values and lines: which rows in which order, and how one row looks. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from appliance.model import SessionView
from tui.paint import Ground, Line, Pen, Tone, bar, condensed, uptime_strip, width_of
from tui.scene import Scene
from tui.text import N_, _
from tui.words import STATES, Concern, age_in, collation, is_problem, shorter, sign_of, since, size, todo

SETTLED_S: Final = 30.0
"""Trouble floats to the top after so long: most of it heals within seconds, and rows that jump are hard to read."""


class ListState(msgspec.Struct):
    """What the person has chosen. `cursor` is a session, not a row: it stays with it when the order changes."""

    cursor: str | None = None
    top: int = 0
    words: str = ""
    problems: bool = False
    order: str = "attention"
    reverse: bool = False
    marks: set[str] = msgspec.field(default_factory=set)


def _attention(view: SessionView, now: float) -> tuple[object, ...]:
    concern = STATES[view.state].concern
    if concern is Concern.PERSON:
        return 0, collation(view.name)
    return 1 if concern is Concern.TROUBLE and now - view.since >= SETTLED_S else 2, collation(view.name)


Order = Callable[[SessionView, float], tuple[object, ...]]
ORDERS: Final[dict[str, Order]] = {
    "attention": _attention,
    "name": lambda view, _now: (collation(view.name),),
    "state": lambda view, _now: (STATES[view.state].concern, view.state, collation(view.name)),
    "for": lambda view, _now: (-view.since,),
    "last": lambda view, _now: (-(view.last_traffic_at or 0.0),),
    "today": lambda view, _now: (-view.disconnections_today, collation(view.name)),
    "storage": lambda view, _now: (-view.media_bytes, collation(view.name)),
}
"""In the order in which a key goes through them."""


def visible(state: ListState, scene: Scene) -> list[SessionView]:
    """The rows, filtered and in order."""
    words = state.words.casefold().split()
    found = [
        view
        for view in scene.store.sessions.values()
        if (not state.problems or is_problem(view)) and (not words or _matches(view, words))
    ]
    order = ORDERS[state.order]
    found.sort(key=lambda view: order(view, scene.now), reverse=state.reverse)
    return found


def _matches(view: SessionView, words: Sequence[str]) -> bool:
    facts = (view.id, view.name, view.phone or "", view.state.value, _(STATES[view.state].word))
    text = " ".join(facts).casefold()
    return all(word in text for word in words)


class Column(msgspec.Struct, frozen=True):
    """`order`: what a click on the title sorts by."""

    id: str
    title: str
    width: int
    order: str = ""
    right: bool = False


_SIGN: Final = Column("sign", "", 4)
_TODO: Final = "todo"
_TODO_OR_FACTS: Final = "todo-or-facts"
"""Where uptime and storage have no columns: who needs nothing shows them instead of what to do."""
_ALL_FACTS: Final = 110
"""From here on every fact has a column of its own."""
_GAP: Final = 1
_SIZE: Final = 8
_STRIP: Final = 13
"""Cells of the day's uptime beside a size; fewer where there is less room."""


@functools.lru_cache(maxsize=8)
def columns(width: int) -> tuple[Column, ...]:
    """The facts that a width has room for; the last column takes what is left."""
    name, number, state = N_("name"), N_("number"), N_("state")
    lasts, last, today, day, storage = N_("for"), N_("last"), N_("today"), N_("24 h"), N_("storage")
    if width >= 160:
        shown = [
            _SIGN,
            Column("name", name, 20, "name"),
            Column("number", number, 16),
            Column("state", state, 15, "state"),
            Column("for", lasts, 9, "for"),
            Column("last", last, 8, "last"),
            Column("today", today, 7, "today", right=True),
            Column("strip", day, 26),
            Column("storage", storage, 19, "storage"),
        ]
    elif width >= _ALL_FACTS:
        shown = [
            _SIGN,
            Column("name", name, 13, "name"),
            Column("number", number, 15),
            Column("state", state, 14, "state"),
            Column("for", lasts, 8, "for"),
            Column("last", last, 7, "last"),
            Column("today", today, 7, "today", right=True),
            Column("strip", day, 9),
            Column("bytes", storage, 9, "storage", right=True),
        ]
    elif width >= 76:
        shown = [
            _SIGN,
            Column("name", name, 12, "name"),
            Column("number", number, 11),
            Column("state", state, 14, "state"),
            Column("for", lasts, 7, "for"),
            Column("last", last, 7, "last"),
            Column("today", today, 6, "today", right=True),
        ]
    else:
        shown = [
            _SIGN,
            Column("name", name, 11, "name"),
            Column("state", state, 14, "state"),
            Column("for", lasts, 8, "for"),
        ]
    rest = _TODO if width >= _ALL_FACTS else _TODO_OR_FACTS
    return (*shown, Column(rest, N_("what to do"), width - sum(column.width for column in shown)))


def column_at(x: int, width: int) -> Column | None:
    """The column under a cell: where the mouse was."""
    for column in columns(width):
        if x < column.width:
            return column
        x -= column.width
    return None


def title_line(state: ListState, scene: Scene, width: int) -> Line:
    pen = Pen(scene.glyphs)
    for column in columns(width):
        sorted_by = column.order == state.order and column.order
        arrow = (scene.glyphs.up if state.reverse else scene.glyphs.down) if sorted_by else ""
        title = _(column.title) + arrow
        # the arrow may stand in the gap: it parts two titles as well as a blank does
        gap = _GAP if width_of(title) <= column.width - _GAP else 0
        pen.cell(title, column.width - gap, Tone.ACCENT if sorted_by else Tone.DIM, right=column.right)
        pen.put(" " * gap)
    return pen.line(width)


def row_line(view: SessionView, state: ListState, scene: Scene, width: int, most: int) -> Line:
    """One session. `most`: bytes of the largest session, the full length of a storage bar."""
    pen, words = Pen(scene.glyphs), STATES[view.state]
    chosen, marked = view.id == state.cursor, view.id in state.marks
    shown = columns(width)
    for column in shown:
        gap = 0 if column is shown[-1] else _GAP
        room = max(0, column.width - gap)
        if column is _SIGN:
            pen.put(scene.glyphs.cursor if chosen else " ", Tone.ACCENT)
            pen.put(scene.glyphs.mark if marked else " ", Tone.ACCENT)
            pen.put(sign_of(view.state, scene.glyphs), words.tone).put(" ")
            continue
        _CELLS[column.id](pen, view, scene, room, most)
        pen.put(" " * gap)
    ground = Ground.CURSOR if chosen else Ground.MARKED if marked else Ground.PLAIN
    return pen.line(width, ground)


Cell = Callable[[Pen, SessionView, Scene, int, int], object]


def _name(pen: Pen, view: SessionView, _scene: Scene, room: int, _most: int) -> None:
    pen.cell(view.name, room, Tone.STRONG)


def _number(pen: Pen, view: SessionView, _scene: Scene, room: int, _most: int) -> None:
    pen.cell(shorter(view.phone or "–", room), room, Tone.DIM)


def _state(pen: Pen, view: SessionView, _scene: Scene, room: int, _most: int) -> None:
    words = STATES[view.state]
    pen.cell(_(words.word), room, words.tone)


def _for(pen: Pen, view: SessionView, scene: Scene, room: int, _most: int) -> None:
    pen.cell(age_in(scene.now - view.since, room), room, Tone.TEXT)


def _last(pen: Pen, view: SessionView, scene: Scene, room: int, _most: int) -> None:
    pen.cell(since(view.last_traffic_at, scene.now, room), room, Tone.DIM)


def _today(pen: Pen, view: SessionView, _scene: Scene, room: int, _most: int) -> None:
    count = view.disconnections_today
    pen.cell(str(count), room, Tone.WARN if count > 2 else Tone.TEXT if count else Tone.DIM, right=True)


def _strip(pen: Pen, view: SessionView, scene: Scene, room: int, _most: int) -> None:
    strip = scene.store.strips.get(view.id)
    start = pen.width
    pen.spans(uptime_strip(condensed([] if strip is None else strip.values, min(room, 24)), scene.glyphs))
    pen.to(start + room)


def _storage(pen: Pen, view: SessionView, scene: Scene, room: int, most: int) -> None:
    share = view.media_bytes / most if most else 0.0
    pen.spans(bar(share, room - _SIZE, scene.glyphs)).cell(size(view.media_bytes), _SIZE, Tone.TEXT, right=True)


def _bytes(pen: Pen, view: SessionView, _scene: Scene, room: int, _most: int) -> None:
    pen.cell(size(view.media_bytes), room, Tone.TEXT if view.media_bytes else Tone.DIM, right=True)


def _todo(pen: Pen, view: SessionView, _scene: Scene, room: int, _most: int) -> None:
    words = STATES[view.state]
    pen.cell(todo(view, room), room, words.tone if words.concern is Concern.PERSON else Tone.TEXT)


def _todo_or_facts(pen: Pen, view: SessionView, scene: Scene, room: int, most: int) -> None:
    """What to do; if nothing, the facts that have no column of their own."""
    strip = min(room - _GAP - _SIZE, _STRIP)
    if todo(view, room) or strip <= 0:
        _todo(pen, view, scene, room, most)
        return
    start = pen.width
    _strip(pen, view, scene, strip, most)
    pen.put(" " * _GAP)
    _bytes(pen, view, scene, _SIZE, most)
    pen.to(start + room)


_CELLS: Final[dict[str, Cell]] = {
    "name": _name,
    "number": _number,
    "state": _state,
    "for": _for,
    "last": _last,
    "today": _today,
    "strip": _strip,
    "storage": _storage,
    "bytes": _bytes,
    _TODO: _todo,
    _TODO_OR_FACTS: _todo_or_facts,
}
