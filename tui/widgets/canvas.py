"""A widget that shows painted lines and tells the terminal only about the cells that have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.paint import Ground, Line, Tone, width_of
from tui.theme import Styles

if TYPE_CHECKING:
    from tui.app import AmdaTui


NEAR: Final = 12
"""Equal cells between two differences that are cheaper to send again than to skip."""


class Canvas(Widget):
    """Shows what `paint` returns; call `repaint` when that may have changed."""

    DEFAULT_CSS = "Canvas { width: 1fr; height: 1fr; }"

    def __init__(self, id: str | None = None) -> None:  # noqa: A002 - textual calls it so
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._strips: dict[int, Strip] = {}

    @property
    def tui(self) -> AmdaTui:
        return self.app  # type: ignore[return-value]

    def paint(self, width: int, height: int) -> list[Line]:
        """The picture for this size, from the top; what is missing below stays empty."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Paint, and pass on what differs from what is shown."""
        width, height = self.size
        if not width or not height:
            return
        lines = self.paint(width, height)[:height]
        blank = Line(((" " * width, Tone.TEXT, None),))
        lines = [line if line.spans else blank for line in lines] + [blank] * (height - len(lines))
        changed = [
            region
            for y, (old, new) in enumerate(zip(self._lines, lines, strict=False))
            if old is not new and old != new
            for region in changes(y, old, new)
        ]
        resized = len(lines) != len(self._lines)
        self._lines = lines
        if resized:
            self._strips.clear()
            self.refresh()
        elif changed:
            for region in changed:
                self._strips.pop(region.y, None)
            self.refresh(*changed)

    def restyle(self) -> None:
        """The theme has changed."""
        self._strips.clear()
        self.refresh()

    def on_resize(self) -> None:
        self._lines = []
        self.repaint()

    def render_line(self, y: int) -> Strip:
        strip = self._strips.get(y)
        if strip is None:
            if y >= len(self._lines):
                return Strip.blank(self.size.width)
            strip = self._strips[y] = strip_of(self._lines[y], self.tui.styles_of_theme)
        return strip

    @property
    def lines(self) -> list[Line]:
        """What is shown: for tests and pictures."""
        return self._lines


def strip_of(line: Line, styles: Styles) -> Strip:
    return Strip([Segment(text, styles.of(tone, ground or line.ground)) for text, tone, ground in line.spans])


def changes(y: int, old: Line, new: Line) -> list[Region]:
    """The cells of a line that differ; differences that are close together are one region, since each costs the
    terminal a sequence that moves its cursor and one that sets its colours."""
    before, after = _cells(old), _cells(new)
    if before is None or after is None or len(before) != len(after) or old.ground is not new.ground:
        return [Region(0, y, sum(width_of(span[0]) for span in new.spans), 1)]
    regions: list[Region] = []
    start = end = -1
    for x, (one, other) in enumerate(zip(before, after, strict=True)):
        if one != other:
            if start < 0 or x - end > NEAR:
                if start >= 0:
                    regions.append(Region(start, y, end - start, 1))
                start = x
            end = x + 1
    return [*regions, Region(start, y, end - start, 1)] if start >= 0 else regions


def _cells(line: Line) -> list[tuple[str, Tone, Ground | None]] | None:
    """Cell by cell; None if a character takes two cells or none."""
    cells = []
    for text, tone, ground in line.spans:
        if width_of(text) != len(text):
            return None
        cells += [(letter, tone, ground) for letter in text]
    return cells
