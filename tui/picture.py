"""Pictures from half blocks: two pixels in each cell, in as many colours as the terminal has. Pure."""

from __future__ import annotations

from typing import Final

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from appliance.model_storage import Pixels

UPPER: Final = "▀"


def rows(pixels: Pixels) -> list[list[Segment]]:
    """A line of the terminal for each two rows of pixels; neighbours of one colour are one segment."""
    width, height, rgb = pixels.width, pixels.height, pixels.rgb
    stride = 3 * width
    lines = []
    for top in range(0, height, 2):
        line: list[Segment] = []
        for x in range(width):
            style = _style(_pixel(rgb, top * stride + 3 * x), _below(rgb, (top + 1) * stride + 3 * x))
            if line and line[-1].style == style:
                line[-1] = Segment(line[-1].text + UPPER, style)
            else:
                line.append(Segment(UPPER, style))
        lines.append(line)
    return lines


def _pixel(rgb: bytes, at: int) -> tuple[int, int, int]:
    return rgb[at], rgb[at + 1], rgb[at + 2]


def _below(rgb: bytes, at: int) -> tuple[int, int, int] | None:
    """None: the picture has an odd number of rows, and ends above."""
    return _pixel(rgb, at) if at + 2 < len(rgb) else None


def _style(upper: tuple[int, int, int], lower: tuple[int, int, int] | None) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=None if lower is None else Color.from_rgb(*lower))


def room(columns: int, lines: int) -> tuple[int, int]:
    """Pixels that fit into so many cells."""
    return max(1, columns), max(1, 2 * lines)
