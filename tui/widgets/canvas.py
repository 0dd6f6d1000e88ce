"""A widget that shows painted lines and tells the terminal only about the cells that have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.paint import Ground, Line, Tone, width_of
from tui.theme import Styles

if TYPE_CHECKING:
    from tui.app import AmdaTui


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
        regions = [
            changed(y, old, new)
            for y, (old, new) in enumerate(zip(self._lines, lines, strict=False))
            if old is not new and old != new
        ]
        resized = len(lines) != len(self._lines)
        self._lines = lines
        if resized:
            self._strips.clear()
            self.refresh()
        elif regions:
            for region in regions:
                self._strips.pop(region.y, None)
            self.refresh(*regions)

    def take(self, rows: int) -> None:
        """Be as high as that from now on; what lies beside it gives or gets the rest, and is painted anew."""
        if self.styles.height is None or self.styles.height.cells != rows:
            self.styles.height = rows

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


def changed(y: int, old: Line, new: Line) -> Region:
    """The cells of a line that differ, in whole spans: what of them the terminal shows already, its driver knows."""
    whole = sum(width_of(span[0]) for span in new.spans)
    if old.ground is not new.ground:
        return Region(0, y, whole, 1)
    left = _same(old.spans, new.spans)
    right = _same(old.spans[::-1], new.spans[::-1])
    if left + right >= whole:  # a span has moved over an equal one
        return Region(0, y, whole, 1)
    return Region(left, y, whole - left - right, 1)


def _same(old: tuple[tuple[str, Tone, Ground | None], ...], new: tuple[tuple[str, Tone, Ground | None], ...]) -> int:
    """Cells of the spans that both begin with."""
    width = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        width += width_of(one[0])
    return width
