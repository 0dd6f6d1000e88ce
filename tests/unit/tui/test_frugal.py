"""The output is smaller, and a terminal that gets it shows exactly what it would have shown without."""

from __future__ import annotations

import pyte
from hypothesis import given
from hypothesis import strategies as st

from tui.frugal import Frugal

COLUMNS, ROWS = 24, 4
WIDE = 130
"""Whatever is written ends before this column."""
STYLES = (
    "\x1b[0m",
    "\x1b[1;38;2;1;2;3;48;2;4;5;6m",
    "\x1b[38;2;1;2;3;48;2;4;5;6m",
    "\x1b[7m",
    "\x1b[31;44m",
    "\x1b[38;5;9m",
)
WORDS = ("online", "  ", "é", "●", "a", "x" * 9, "12 s")
"""None is wide: the library never writes over half of a wide letter; what a terminal then shows is its own affair."""

pieces = st.one_of(
    st.builds("\x1b[{};{}H".format, st.integers(1, ROWS), st.integers(1, 12)),
    st.sampled_from(STYLES),
    st.sampled_from(WORDS),
    st.sampled_from(["\x1b[?2026h", "\x1b[?2026l"]),
)
writes = st.lists(st.lists(pieces, max_size=10).map("".join), min_size=1, max_size=6)


def shown(stream: list[str]) -> list[list[tuple[str, str, str, bool, bool]]]:
    screen = pyte.Screen(COLUMNS, ROWS)
    screen.reset_mode(pyte.modes.DECAWM)
    terminal = pyte.Stream(screen)
    for data in stream:
        terminal.feed(data)
    return [
        [
            (cell.data, cell.fg, cell.bg, cell.bold, cell.reverse)
            for cell in (screen.buffer[y][x] for x in range(COLUMNS))
        ]
        for y in range(ROWS)
    ]


def bounded(stream: list[str]) -> list[str]:
    """Each write begins at a place of its own, as the library's do; the end of a line is not run over."""
    return [f"\x1b[{1 + number % ROWS};1H\x1b[0m{data}" for number, data in enumerate(stream)]


@given(writes)
def test_a_terminal_shows_the_same(stream: list[str]) -> None:
    stream = [data for data in bounded(stream) if fits(data)]
    frugal = Frugal()
    assert shown([frugal.reduce(data) for data in stream]) == shown(stream)


def fits(data: str) -> bool:
    screen = pyte.Screen(WIDE, ROWS)
    pyte.Stream(screen).feed(data)
    return all(screen.buffer[y][x].data in (" ", "") for y in range(ROWS) for x in range(COLUMNS - 2, WIDE))


@given(writes)
def test_the_same_again_costs_nothing(stream: list[str]) -> None:
    frugal = Frugal()
    for data in stream:
        frugal.reduce("\x1b[1;1H\x1b[0m" + data.replace("\x1b[?2026h", "").replace("\x1b[?2026l", ""))
    last = "\x1b[2;3H\x1b[0;1monline\x1b[0m  \x1b[31m●\x1b[0m"
    frugal.reduce(last)
    assert frugal.reduce(last) == ""


def test_a_changed_word_is_little_more_than_the_word() -> None:
    frugal, line = Frugal(), "\x1b[3;1H\x1b[38;2;1;2;3;48;2;4;5;6m{}\x1b[0m\x1b[38;2;9;9;9;48;2;4;5;6m tail\x1b[0m"
    frugal.reduce(line.format("a name          online       5 s"))
    changed = frugal.reduce(line.format("a name          degraded     5 s"))
    assert "degraded" in changed
    assert len(changed) < len("degraded") + 40


def test_wide_letters_take_two_cells() -> None:
    stream = ["\x1b[1;1H\x1b[0m日本 online", "\x1b[1;1H\x1b[0m日本 stopped", "\x1b[1;6H\x1b[1mSTOPPED\x1b[0m"]
    frugal = Frugal()
    assert shown([frugal.reduce(data) for data in stream]) == shown(stream)


def test_after_a_cleared_screen_everything_is_sent() -> None:
    frugal = Frugal()
    frugal.reduce("\x1b[1;1Hword")
    assert "word" in frugal.reduce("\x1b[?1049h\x1b[1;1Hword")
    frugal.forget()
    assert "word" in frugal.reduce("\x1b[1;1Hword")
