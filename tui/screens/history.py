"""The past: disconnections by hour and reason, how fast all were back, and which session loses its connection most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from appliance.model import SessionView
from appliance.model_history import HistoryStats, HourCount, SessionUptime
from tui.actions import Place
from tui.edit import Editor
from tui.paint import Ground, Line, Pen, Span, Tone, bar, rule, width_of
from tui.scene import Scene
from tui.screens.page import Deed, Page, moved, scrolled
from tui.text import N_, _
from tui.words import collation, duration, percent, reason_word

DAY_S: Final = 86_400
CHART_ROWS: Final = 5
REASONS_SHOWN: Final = 5
RELOAD_S: Final = 30.0


def _yesterday(now: float) -> float:
    """Midnight before the last one, local time."""
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday - 1, 0, 0, 0, 0, 0, -1))


Since = Callable[[float], float]
RANGES: Final[dict[str, tuple[str, Since]]] = {
    "yesterday": (N_("since yesterday"), _yesterday),
    "week": (N_("last 7 days"), lambda now: now - 7 * DAY_S),
    "month": (N_("last 30 days"), lambda now: now - 30 * DAY_S),
}
"""In the order in which a key goes through them."""
Order = Callable[[SessionUptime, str], tuple[object, ...]]
ORDERS: Final[dict[str, Order]] = {
    "most": lambda one, name: (-one.disconnections, name),
    "name": lambda _one, name: (name,),
    "day": lambda one, name: (1.0 if one.day is None else one.day, name),
    "week": lambda one, name: (1.0 if one.week is None else one.week, name),
}


class HistoryPage(Page):
    place = Place.HISTORY
    reload_s = RELOAD_S

    def __init__(self) -> None:
        super().__init__(id="history")
        self._stats: HistoryStats | None = None
        self._range = "yesterday"
        self._reason: str | None = None
        self._reasons: list[str] = []
        """All that there are; while one is chosen, no other is in the statistics."""
        self._order, self._reverse = "most", False
        self._cursor: str | None = None
        self._top = 0
        self._words = ""
        self._editor: Editor | None = None
        self._rows: list[tuple[SessionUptime, str]] = []
        self._room = 10

    def deeds(self) -> dict[str, Deed]:
        return {
            "filter": self._filter,
            "sort": self._sort,
            "reverse": self._turn,
            "range": self._next_range,
            "reason": self._next_reason,
        }

    async def load(self) -> None:
        since = RANGES[self._range][1](self.tui.clock())
        reason = self._reason
        self._stats = await self.tui.ask(lambda api: api.history_stats(reason=reason, since=since))
        if reason is None:
            self._reasons = [one.reason for one in self._stats.by_reason]

    def targets(self) -> list[SessionView]:
        known = self.tui.scene.store.sessions
        return [known[self._cursor]] if self._cursor in known else []

    def editor(self) -> Editor | None:
        return self._editor

    async def edited(self, key: str) -> None:
        if self._editor is not None:
            self._words = "" if key == "escape" else self._editor.text
            if key in ("enter", "escape"):
                self._editor = None

    def back(self) -> bool:
        had = bool(self._words or self._reason)
        self._words = ""
        if self._reason is not None:
            self._reason = None
            self.tui.load(self)
        return had

    def navigate(self, key: str) -> bool:
        index = moved(key, self._index(), len(self._rows), self._room)
        if index is not None and self._rows:
            self._cursor = self._rows[index][0].session
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene, stats = self.tui.scene, self._stats
        if stats is None:
            return [Line(), Pen().put("    " + _("Reading the history …"), Tone.DIM).line(width)]
        self._rows = rows = ranked(stats, scene, self._words, self._order, reverse=self._reverse)
        if rows and all(one.session != self._cursor for one, _name in rows):
            self._cursor = rows[0][0].session
        rows_of_chart = CHART_ROWS if height >= 24 else 3
        top = [self._title(stats, width), *charts(stats, scene, width, rows_of_chart)]
        self._room = max(1, height - len(top) - 2)
        self._top = scrolled(self._top, self._index(), len(rows), self._room)
        lines = [*top, self._table_rule(width), table_title(width, self._order, scene, reverse=self._reverse)]
        most = max((one.disconnections for one, _name in rows), default=0)
        for one, name in rows[self._top : self._top + self._room]:
            lines.append(session_line(one, name, self._cursor, most, scene, width))
        return lines

    # ---- what is done here

    def _filter(self) -> None:
        self._editor = Editor(self._words, len(self._words))

    def _sort(self) -> None:
        orders = list(ORDERS)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]

    def _turn(self) -> None:
        self._reverse = not self._reverse

    def _next_range(self) -> None:
        names = list(RANGES)
        self._range = names[(names.index(self._range) + 1) % len(names)]
        self.tui.load(self)

    def _next_reason(self) -> None:
        """All, then one after the other."""
        after = 0 if self._reason is None else self._reasons.index(self._reason) + 1
        self._reason = self._reasons[after] if after < len(self._reasons) else None
        self.tui.load(self)

    # ---- how it looks

    def _index(self) -> int:
        return next((index for index, (one, _name) in enumerate(self._rows) if one.session == self._cursor), 0)

    def _title(self, stats: HistoryStats, width: int) -> Line:
        pen = Pen(self.tui.scene.glyphs).put(" ")
        pen.put(_(RANGES[self._range][0]), Tone.STRONG).put("  ")
        pen.put(_("{count} disconnections").format(count=stats.total), Tone.TEXT)
        if stats.asked:
            pen.put("  " + _("({count} asked for are left out)").format(count=stats.asked), Tone.DIM)
        if self._reason is not None:
            pen.put("  " + _("only: {reason}").format(reason=reason_word(self._reason)), Tone.WARN)
        return pen.line(width)

    def _table_rule(self, width: int) -> Line:
        glyphs = self.tui.scene.glyphs
        if self._editor is not None:
            return self._editor.put(Pen(glyphs).put(" / ", Tone.KEY)).line(width)
        return rule(width, glyphs, _("by session") + (f" {glyphs.dot} / {self._words}" if self._words else ""))


def ranked(
    stats: HistoryStats, scene: Scene, words: str, order: str, *, reverse: bool
) -> list[tuple[SessionUptime, str]]:
    """Sessions with their names, filtered and in order."""
    wanted = collation(words).split()
    known = scene.store.sessions
    rows = [(one, known[one.session].name if one.session in known else one.session) for one in stats.sessions]
    rows = [row for row in rows if all(word in collation(f"{row[1]} {row[0].session}") for word in wanted)]
    return sorted(rows, key=lambda row: ORDERS[order](row[0], collation(row[1])), reverse=reverse)


def charts(stats: HistoryStats, scene: Scene, width: int, rows: int) -> list[Line]:
    """By hour on the left; by reason and recovery beside it where there is room, below otherwise."""
    if width < 100:
        below = [*reason_lines(stats, scene, width - 2)[:3], recovery_line(stats)]
        return [*hour_chart(stats.by_hour, scene, width, rows), *(_indented(line, width) for line in below)]
    left = width * 55 // 100
    chart = hour_chart(stats.by_hour, scene, left, rows)
    right = [*reason_lines(stats, scene, width - left - 4)[: rows + 1], recovery_line(stats)]
    lines = []
    for index in range(max(len(chart), len(right))):
        pen = Pen(scene.glyphs)
        for text, tone, _ground in chart[index].spans if index < len(chart) else ():
            pen.put(text, tone)
        pen.to(left + 3)
        lines.append(pen.spans(right[index] if index < len(right) else []).line(width))
    return lines


def _indented(spans: list[Span], width: int) -> Line:
    return Pen().put(" ").spans(spans).line(width)


def hour_chart(hours: list[HourCount], scene: Scene, width: int, rows: int) -> list[Line]:
    """Bars from below; several hours share a cell if there are more of them than cells."""
    label = 6
    room = max(8, width - label - 1)
    per_cell = max(1, -(-len(hours) // room))
    groups = [hours[start : start + per_cell] for start in range(0, len(hours), per_cell)]
    wide = max(1, room // max(1, len(groups)))
    counts = [sum(hour.count for hour in group) for group in groups]
    most = max(counts, default=0) or 1
    levels = scene.glyphs.levels
    lines = []
    for row in range(rows, 0, -1):
        pen = Pen(scene.glyphs)
        pen.cell(str(most) if row == rows else "0" if row == 1 else "", label - 2, Tone.DIM, right=True)
        pen.put(" ┤" if row == rows else " ┼" if row == 1 else " │", Tone.RULE)
        for count in counts:
            eighths = count * rows * len(levels) / most - (row - 1) * len(levels)
            cell = " " if eighths <= 0 else levels[min(len(levels), max(1, round(eighths))) - 1]
            pen.put(cell * wide, Tone.INFO)
        lines.append(pen.line(width))
    return [*lines, _axis(groups, wide, label, width)]


def _axis(groups: list[list[HourCount]], wide: int, label: int, width: int) -> Line:
    """Days under the chart where they begin; hours if it is only two days."""
    pen = Pen().to(label)
    short = len(groups) and groups[-1][-1].start - groups[0][0].start <= 3 * DAY_S
    for index, group in enumerate(groups):
        starts = [time.localtime(hour.start) for hour in group]
        at = label + index * wide
        if at < pen.width:
            continue
        if any(start.tm_hour == 0 for start in starts):
            text = time.strftime(_("%d.%m."), starts[0])
        elif short and any(start.tm_hour % 6 == 0 for start in starts):
            text = f"{starts[0].tm_hour} h"
        else:
            continue
        if at + width_of(text) <= width:
            pen.to(at).put(text + " ", Tone.DIM)
    return pen.line(width)


def reason_lines(stats: HistoryStats, scene: Scene, width: int) -> list[list[Span]]:
    """The most frequent reasons, each with a bar and its number."""
    most = max((reason.count for reason in stats.by_reason), default=0)
    words = 18
    lines: list[list[Span]] = []
    for reason in stats.by_reason[:REASONS_SHOWN]:
        pen = Pen(scene.glyphs).cell(reason_word(reason.reason), words, Tone.TEXT).put(" ")
        pen.spans(bar(reason.count / most, max(4, width - words - 6), scene.glyphs))
        pen.cell(str(reason.count), 5, right=True)
        lines.append([(span[0], span[1]) for span in pen.line(width).spans])
    return lines or [[(_("No disconnection in this time."), Tone.OK)]]


def recovery_line(stats: HistoryStats) -> list[Span]:
    recovery = stats.recovery
    words = _("back after: half {p50}, 95 % {p95}, 99 % {p99}").format(
        p50=duration(recovery.p50_s), p95=duration(recovery.p95_s), p99=duration(recovery.p99_s)
    )
    spans: list[Span] = [(words, Tone.DIM)]
    if recovery.open:
        spans.append(("  " + _("{count} not yet back").format(count=recovery.open), Tone.WARN))
    return spans


class _Widths(msgspec.Struct, frozen=True):
    name: int
    bar: int


def _widths(width: int) -> _Widths:
    return _Widths(18, 24) if width >= 100 else _Widths(14, 10) if width >= 76 else _Widths(12, 8)


def table_title(width: int, order: str, scene: Scene, *, reverse: bool) -> Line:
    size = _widths(width)
    arrow = scene.glyphs.up if reverse else scene.glyphs.down
    titles = (
        ("name", N_("name"), size.name),
        ("most", N_("disconnections") if size.bar >= 10 else N_("lost"), size.bar + 7),
    )
    pen = Pen(scene.glyphs).put("  ")
    for key, title, room in (*titles, ("day", N_("24 h"), 10), ("week", N_("7 days"), 10)):
        pen.cell(_(title) + (arrow if key == order else ""), room, Tone.ACCENT if key == order else Tone.DIM)
    return pen.line(width)


def session_line(one: SessionUptime, name: str, cursor: str | None, most: int, scene: Scene, width: int) -> Line:
    size = _widths(width)
    chosen = one.session == cursor
    pen = Pen(scene.glyphs).put(scene.glyphs.cursor if chosen else " ", Tone.ACCENT).put(" ")
    pen.cell(name, size.name - 1, Tone.STRONG).put(" ")
    pen.cell(str(one.disconnections), 5, Tone.WARN if one.disconnections else Tone.DIM, right=True).put(" ")
    pen.spans(bar(one.disconnections / most if most else 0.0, size.bar, scene.glyphs)).put(" ")
    for share in (one.day, one.week):
        tone = Tone.DIM if share is None else Tone.OK if share >= 0.995 else Tone.WARN if share >= 0.9 else Tone.BAD
        pen.cell("–" if share is None else percent(share), 10, tone)
    return pen.line(width, Ground.CURSOR if chosen else Ground.PLAIN)
