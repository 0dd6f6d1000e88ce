"""Logs and events as one list: in order of time although two streams write it, bounded, searched, harmless."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import SessionState
from appliance.model_history import LogEntry, LogLevel, LogSource
from tests.unit.tui.facts import NOW, event
from tui.logbook import Logbook, Row, Source, clean, matching, row_of, row_of_event, saved

NAMES = {"awa": "Awa Ndiaye"}


def row(at: float, text: str = "a line", who: str = "awa") -> Row:
    return Row(at=at, who=who, level="info", text=text)


@given(st.lists(st.integers(0, 50), max_size=60))
def test_whatever_comes_first_it_is_in_order_of_time_and_what_was_there_first_stays_first(times: list[int]) -> None:
    book = Logbook(kept=100)
    for at in times:
        book.take(row(at))
    found = [(line.at, line.number) for line in book]
    assert found == sorted(found)
    assert len(found) == len(times)


@given(st.lists(st.integers(0, 50), max_size=60))
def test_it_is_bounded_and_keeps_what_is_newest(times: list[int]) -> None:
    book = Logbook(kept=5)
    for at in times:
        book.take(row(at))
    assert len(book) == min(5, len(times))
    if times:
        assert list(book)[-1].at == max(times)


def test_how_serious_an_event_is() -> None:
    assert row_of_event(event(1, state="online")).level == "info"
    assert row_of_event(event(1, state="reconnecting")).level == "warning"
    assert row_of_event(event(1, state=SessionState.NEEDS_PAIRING, detail="401")).level == "error"
    assert row_of_event(event(1, state="of a newer release")).level == "info"
    assert row_of_event(event(1, "alert.down", None)).level == "warning"
    assert row_of_event(event(1, "media.stored", id="x", size=7)).text == "media.stored size=7"


def test_words_are_searched_without_accents_and_in_names() -> None:
    rows = [row(1, "café fermé"), row(2, "other"), Row(at=3, who="", level="error", text="the daemon's")]
    assert [line.at for line in matching(rows, "CAFE", NAMES)] == [1]
    assert [line.at for line in matching(rows, "ndiaye other", NAMES)] == [2]
    assert [line.at for line in matching(rows, "error", NAMES)] == [3]
    assert matching(rows, "", NAMES) == rows


@given(st.text())
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    entry = LogEntry(at=NOW, source=LogSource.SESSION, session="awa", level="info", text=text)
    assert all(letter.isprintable() for letter in row_of(entry).text)
    assert clean("\x1b]52;c;eA==\x07rm\r\n") == " ]52;c;eA== rm"


def test_as_a_file() -> None:
    text = saved([row(NOW, "one"), msgspec.structs.replace(row(NOW + 1), who="")], NOW)
    assert text.splitlines()[0].split() == ["14:13:20", "awa", "info", "one"]
    assert text.splitlines()[1].split()[1] == "-"


def test_sources_and_levels() -> None:
    assert Source.SESSIONS.log is LogSource.SESSION
    assert Source.EVERYTHING.log is None
    assert [source.has_events for source in Source] == [True, False, False, True]
    assert LogLevel.DEBUG.includes("debug")
