"""Painting without a terminal: lines of text whose parts say what they mean, not what colour they have.

Screens are made of these values by pure functions, so that a test can look at a whole screen without starting anything,
and two pictures can be compared to find the few cells that have changed.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec
from rich.cells import cell_len, chop_cells, set_cell_size


class Tone(enum.Enum):
    """What a piece of text means; a theme says how it looks."""

    TEXT = enum.auto()
    STRONG = enum.auto()
    DIM = enum.auto()
    OK = enum.auto()
    WARN = enum.auto()
    BAD = enum.auto()
    INFO = enum.auto()
    ACCENT = enum.auto()
    KEY = enum.auto()
    OFF = enum.auto()
    """A key that does nothing here."""
    RULE = enum.auto()
    BAR = enum.auto()
    EMPTY = enum.auto()
    """The part of a bar that is not filled."""


class Ground(enum.Enum):
    """What is behind a line."""

    PLAIN = enum.auto()
    RAISED = enum.auto()
    """Header, footer, and the frame of what lies above the rest."""
    CURSOR = enum.auto()
    MARKED = enum.auto()
    ALARM = enum.auto()
    PAPER = enum.auto()
    """Light whatever the theme: a phone has to read what is on it."""
    TAB = enum.auto()


Span = tuple[str, Tone]


class Line(NamedTuple):
    """One line of the screen. Spans may have a ground of their own by a third member."""

    spans: tuple[tuple[str, Tone, Ground | None], ...] = ()
    ground: Ground = Ground.PLAIN

    @property
    def text(self) -> str:
        return "".join(span[0] for span in self.spans)


class Glyphs(msgspec.Struct, frozen=True, kw_only=True):
    """Characters that not every terminal has; each means the same in every set."""

    ok: str
    half: str
    wait: str
    open: str
    bad: str
    off: str
    mark: str
    cursor: str
    cut: str
    dot: str
    full: str
    empty: str
    none: str
    rule: str
    up: str
    down: str
    arrow: str
    eighths: str
    """A cell that is filled from the left, in eighths."""
    levels: str
    """A cell that is filled from below, lowest first."""


RICH_GLYPHS: Final = Glyphs(
    ok="●",
    half="◐",
    wait="◌",
    open="○",
    bad="✖",
    off="■",
    mark="✓",
    cursor="▸",
    cut="…",
    dot="·",
    full="█",
    empty="░",
    none="·",
    rule="─",
    up="▲",
    down="▼",
    arrow="→",
    eighths="▏▎▍▌▋▊▉█",
    levels="▁▂▃▄▅▆▇█",
)
PLAIN_GLYPHS: Final = Glyphs(
    ok="*",
    half="~",
    wait=".",
    open="o",
    bad="X",
    off="-",
    mark="+",
    cursor=">",
    cut="~",
    dot="-",
    full="#",
    empty=".",
    none=".",
    rule="-",
    up="^",
    down="v",
    arrow=">",
    eighths="#",
    levels="_-=#",
)
"""For the Linux console, whose font has 256 characters, and for terminals without UTF-8."""


def width_of(text: str) -> int:
    """Cells that a text takes; wide characters take two."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, glyphs: Glyphs = RICH_GLYPHS, *, right: bool = False) -> str:
    """Exactly `width` cells: padded, or cut with a sign that it was cut."""
    if width <= 0:
        return ""
    have = width_of(text)
    if have > width:
        return set_cell_size(text, width - 1) + glyphs.cut
    return " " * (width - have) + text if right else text + " " * (width - have)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken at blanks; those before a French colon keep together what they join. A
    word that is wider, a path perhaps, is broken anywhere."""
    words = filter(None, text.replace("\n", " ").split(" "))
    lines, line = [], ""
    for word in itertools.chain.from_iterable(
        chop_cells(word, width) if width_of(word) > width > 1 else (word,) for word in words
    ):
        if line and width_of(line) + 1 + width_of(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


class Pen:
    """Writes one line from left to right."""

    __slots__ = ("_glyphs", "_spans", "width")

    def __init__(self, glyphs: Glyphs = RICH_GLYPHS) -> None:
        self._glyphs = glyphs
        self._spans: list[tuple[str, Tone, Ground | None]] = []
        self.width = 0

    def put(self, text: str, tone: Tone = Tone.TEXT, ground: Ground | None = None) -> Pen:
        """Blanks have no colour of their own: they join what is beside them, because each piece costs bytes."""
        if text:
            self.width += width_of(text)
            if self._spans:
                last, last_tone, last_ground = self._spans[-1]
                if last_ground is ground and (tone is last_tone or text.isspace() or last.isspace()):
                    self._spans[-1] = (last + text, last_tone if text.isspace() else tone, ground)
                    return self
            self._spans.append((text, tone, ground))
        return self

    def cell(self, text: str, width: int, tone: Tone = Tone.TEXT, *, right: bool = False) -> Pen:
        """A column of exactly `width` cells."""
        return self.put(fit(text, width, self._glyphs, right=right), tone)

    def spans(self, spans: Iterable[Span]) -> Pen:
        for text, tone in spans:
            self.put(text, tone)
        return self

    def to(self, column: int) -> Pen:
        """Blanks up to a column."""
        return self.put(" " * (column - self.width))

    def line(self, width: int, ground: Ground = Ground.PLAIN) -> Line:
        """The line, padded to `width`, cut if it is longer."""
        if self.width < width:
            self.put(" " * (width - self.width))
        spans = tuple(self._spans)
        return Line(spans if self.width <= width else cropped(spans, width, self._glyphs), ground)


def cropped(
    spans: Sequence[tuple[str, Tone, Ground | None]], width: int, glyphs: Glyphs
) -> tuple[tuple[str, Tone, Ground | None], ...]:
    """The first `width` cells."""
    kept: list[tuple[str, Tone, Ground | None]] = []
    left = width
    for text, tone, ground in spans:
        size = width_of(text)
        if size >= left:
            kept.append((fit(text, left, glyphs), tone, ground))
            break
        kept.append((text, tone, ground))
        left -= size
    return tuple(kept)


def plain(text: str, width: int, tone: Tone = Tone.TEXT, ground: Ground = Ground.PLAIN) -> Line:
    """A line of one piece."""
    return Pen().put(text, tone).line(width, ground)


def rule(width: int, glyphs: Glyphs, title: str = "") -> Line:
    """A line across, with a title in it if there is one."""
    pen = Pen(glyphs)
    if title:
        pen.put(glyphs.rule * 2, Tone.RULE).put(f" {title} ", Tone.DIM)
    return pen.put(glyphs.rule * max(0, width - pen.width), Tone.RULE).line(width)


def bar(share: float, width: int, glyphs: Glyphs, tone: Tone = Tone.BAR) -> list[Span]:
    """A bar of `width` cells, as exact as the glyphs allow; what is more than nothing is never shown as nothing."""
    steps = len(glyphs.eighths)
    filled = round(min(1.0, max(0.0, share)) * width * steps)
    if share > 0:
        filled = max(1, filled)
    whole, part = divmod(filled, steps)
    text = glyphs.full * whole + (glyphs.eighths[part - 1] if part else "")
    return [(text, tone), (glyphs.empty * (width - len(text)), Tone.EMPTY)]


def spark(values: Sequence[float], glyphs: Glyphs, top: float | None = None) -> str:
    """A small chart of one cell for each value; zero is the lowest level."""
    high = max(top or 0, *values, 1e-9) if values else 1.0
    last = len(glyphs.levels) - 1
    return "".join(glyphs.levels[min(last, -int(-last * value // high))] for value in values)


UPTIME_GOOD: Final = 0.995
"""Of a slot: seven minutes of a day may be missing before the strip changes its tone."""
UPTIME_FAIR: Final = 0.9


def uptime_strip(values: Sequence[float | None], glyphs: Glyphs) -> list[Span]:
    """Shares of time online as cells that are filled from below; unknown is a dot. Runs of one tone are one span."""
    spans: list[Span] = []
    for value in values:
        if value is None:
            text, tone = glyphs.none, Tone.DIM
        else:
            last = len(glyphs.levels) - 1
            text = glyphs.levels[last if value >= UPTIME_GOOD else min(last - 1, int(value * last))]
            tone = Tone.OK if value >= UPTIME_GOOD else Tone.WARN if value >= UPTIME_FAIR else Tone.BAD
        if spans and spans[-1][1] is tone:
            spans[-1] = (spans[-1][0] + text, tone)
        else:
            spans.append((text, tone))
    return spans


def condensed(values: Sequence[float | None], count: int) -> list[float | None]:
    """As many parts of equal length; each is the mean of what is known in it."""
    if not values or count <= 0:
        return [None] * max(0, count)
    parts: list[float | None] = []
    for index in range(count):
        start, end = (
            index * len(values) // count,
            max((index + 1) * len(values) // count, index * len(values) // count + 1),
        )
        known = [value for value in values[start:end] if value is not None]
        parts.append(sum(known) / len(known) if known else None)
    return parts
