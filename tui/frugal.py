"""Makes a terminal's output small: what the screen shows already is not sent again.

The terminal library repaints a line from its beginning and sets every colour anew for every piece. This reads that
output as a terminal would, keeps the cells that are shown, and says what differs with as few bytes as it can. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from rich.cells import get_character_cell_size

_TOKEN: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[^\x1b]+", re.DOTALL)
"""Control sequences (ECMA-48), operating system commands, and text between them."""
_MOVE: Final = re.compile(r"\x1b\[(\d+);(\d+)H")
_CLEARS: Final = ("\x1b[?1049h", "\x1b[?1049l", "\x1b[2J", "\x1bc")
"""After these nothing is known of what the screen shows."""
_TYPE_OVER: Final = 4
"""So many equal cells are typed again rather than skipped: a skip takes as many bytes."""
_COLOUR: Final = re.compile(r"(?:38|48)[;:](?:2[;:]\d+[;:]\d+[;:]\d+|5[;:]\d+)|\d+")


class Style(NamedTuple):
    """A cell's appearance, as parts of a control sequence."""

    attributes: tuple[str, ...] = ()
    front: str = "39"
    behind: str = "49"


Cell = tuple[str, Style]
_PLAIN: Final = Style()


class Frugal:
    """`reduce` takes what is to be written and returns what has to be. A row of cells that are not known is None."""

    def __init__(self) -> None:
        self._shown: dict[int, list[Cell | None]] = {}
        self._wanted: dict[int, dict[int, Cell]] = {}
        self._row = self._column = 0
        self._style = _PLAIN
        self._parsed: dict[tuple[Style, str], Style] = {}
        self._terminal: tuple[int, int, Style | None] = (-1, -1, None)
        """Where the terminal's own cursor is, and its style; None: not known."""

    def forget(self) -> None:
        """The screen may show anything now: it was resized, or somebody else has written to it."""
        self._shown.clear()
        self._terminal = (-1, -1, None)

    def reduce(self, data: str) -> str:
        """The same picture with fewer bytes."""
        out: list[str] = []
        for match in _TOKEN.finditer(data):
            token = match[0]
            if token[0] != "\x1b":
                self._text(token)
            elif token.endswith("m") and token[1] == "[":
                self._style = self._parse(token)
            elif moved := _MOVE.fullmatch(token):
                self._row, self._column = int(moved[1]) - 1, int(moved[2]) - 1
            else:
                out += self._flush()
                out.append(token)
                if token in _CLEARS:
                    self.forget()
        out += self._flush()
        return "".join(out)

    # ---- reading

    def _text(self, text: str) -> None:
        row = self._wanted.setdefault(self._row, {})
        for letter in text:
            if letter == "\n":
                self._row += 1
                row = self._wanted.setdefault(self._row, {})
            elif letter == "\r":
                self._column = 0
            elif letter >= " ":
                width = 1 if letter < "\u0300" else get_character_cell_size(letter)
                if not width:  # it belongs to the letter before
                    before = row.get(self._column - 1)
                    if before is not None:
                        row[self._column - 1] = (before[0] + letter, before[1])
                    continue
                row[self._column] = (letter, self._style)
                if width > 1:
                    row[self._column + 1] = ("", self._style)
                self._column += width

    def _parse(self, token: str) -> Style:
        """The style after a sequence that sets some of it."""
        found = self._parsed.get((self._style, token))
        if found is None:
            attributes, front, behind = list(self._style.attributes), self._style.front, self._style.behind
            for part in _COLOUR.findall(token[2:-1]):
                number = int(part.partition(";")[0])
                if number == 0:
                    attributes, front, behind = [], _PLAIN.front, _PLAIN.behind
                elif 30 <= number <= 39 or 90 <= number <= 97:
                    front = part
                elif 40 <= number <= 49 or 100 <= number <= 107:
                    behind = part
                elif part not in attributes:
                    attributes.append(part)
            found = self._parsed[self._style, token] = Style(tuple(attributes), front, behind)
        return found

    # ---- writing

    def _flush(self) -> Iterator[str]:
        """What differs from what is shown."""
        for y in sorted(self._wanted):
            wanted = self._wanted[y]
            shown = self._shown.setdefault(y, [])
            for x in sorted(wanted):
                cell = wanted[x]
                if x >= len(shown):
                    shown += [None] * (x + 1 - len(shown))
                if shown[x] != cell:
                    yield from self._go(x, y)
                    yield from self._put(x, cell)
                    shown[x] = cell
        self._wanted = {}

    def _go(self, x: int, y: int) -> Iterator[str]:
        """Bring the terminal's cursor there, over what is shown if that is shorter."""
        row, column, _style = self._terminal
        if (row, column) == (y, x):
            return
        if row == y and 0 < x - column <= _TYPE_OVER:
            between = self._shown[y][column:x]
            if all(cell is not None and cell[0] and cell[1] == self._terminal[2] for cell in between):
                yield "".join(cell[0] for cell in between if cell is not None)
            else:
                yield f"\x1b[{x - column}C"
        else:
            yield f"\x1b[{y + 1};{x + 1}H"
        self._terminal = (y, x, self._terminal[2])

    def _put(self, x: int, cell: Cell) -> Iterator[str]:
        text, style = cell
        if not text:  # the right half of a wide letter: it was written with the left one
            return
        row, _column, old = self._terminal
        if old != style:
            yield _change(old, style)
        yield text
        width = 1 if text < "\u0300" else get_character_cell_size(text[0])
        self._terminal = (row, x + width, style)


def _change(old: Style | None, new: Style) -> str:
    """The shortest sequence from one style to another."""
    if old is None or old.attributes != new.attributes:
        parts = ["0", *new.attributes]
        old = _PLAIN
    else:
        parts = []
    if new.front != old.front:
        parts.append(new.front)
    if new.behind != old.behind:
        parts.append(new.behind)
    return f"\x1b[{';'.join(parts)}m"
