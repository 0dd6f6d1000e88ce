"""Large type for a pairing code, so that it can be read across a desk and typed without a mistake."""

from __future__ import annotations

from typing import Final

from tui.paint import PLAIN_GLYPHS, Glyphs

WIDTH, HEIGHT = 5, 7
"""Dots of a character."""
_ROWS: Final = {
    "0": "0E11131519110E", "1": "040C040404040E", "2": "0E11010204081F", "3": "1F02040201110E",
    "4": "02060A121F0202", "5": "1F101E0101110E", "6": "0608101E11110E", "7": "1F010204080808",
    "8": "0E11110E11110E", "9": "0E11110F01020C", "A": "0E11111F111111", "B": "1E11111E11111E",
    "C": "0E11101010110E", "D": "1C12111111121C", "E": "1F10101E10101F", "F": "1F10101E101010",
    "G": "0E11101711110F", "H": "1111111F111111", "I": "0E04040404040E", "J": "0702020202120C",
    "K": "11121418141211", "L": "1010101010101F", "M": "111B1515111111", "N": "11111915131111",
    "O": "0E11111111110E", "P": "1E11111E101010", "Q": "0E11111115120D", "R": "1E11111E141211",
    "S": "0F10100E01011E", "T": "1F040404040404", "U": "1111111111110E", "V": "11111111110A04",
    "W": "1111111515150A", "X": "11110A040A1111", "Y": "1111110A040404", "Z": "1F01020408101F",
    "-": "0000000E000000",
}  # fmt: skip
"""Seven rows of five dots, a byte each, the leftmost dot highest."""
_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def dots(text: str) -> list[list[bool]]:
    """The text as rows of dots, a column free between characters. Raises KeyError for a character that has none."""
    rows: list[list[bool]] = [[] for _ in range(HEIGHT)]
    for letter in text.upper():
        for row, bits in zip(rows, bytes.fromhex(_ROWS[letter]), strict=True):
            row += [bool(bits & 1 << WIDTH - 1 - x) for x in range(WIDTH)] + [False]
    return [row[:-1] for row in rows]


def halves(rows: list[list[bool]]) -> list[str]:
    """Two rows of dots in each line: a terminal's cells are twice as high as wide."""
    padded = [*rows, [False] * len(rows[0])] if len(rows) % 2 else rows
    pairs = zip(padded[::2], padded[1::2], strict=True)
    return ["".join(_HALVES[pair] for pair in zip(upper, lower, strict=True)) for upper, lower in pairs]


def large(text: str, room: int, glyphs: Glyphs) -> list[str]:
    """Lines of the text in the largest type that fits into `room` cells; as it is if none does."""
    if any(letter not in _ROWS for letter in text.upper()):
        return [text]
    rows = dots(text)
    if 2 * len(rows[0]) <= room:
        return ["".join(2 * (glyphs.full if dot else " ") for dot in row) for row in rows]
    if len(rows[0]) > room:
        return [" ".join(text)]
    if glyphs is PLAIN_GLYPHS:
        return ["".join(glyphs.full if dot else " " for dot in row) for row in rows]
    return halves(rows)
