"""The daemon's last lines: masked as the log itself, numbered, bounded."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from appliance.logging import configure_logging
from appliance.recent_log import LINE_MAX, RECENT, RecentLog


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    yield stream
    logging.getLogger().handlers.clear()
    structlog.reset_defaults()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("a", logging.WARNING, "a.py", 1, text, None, None)


@pytest.mark.usefixtures("stream")
def test_what_is_logged_is_remembered_masked_and_in_one_line() -> None:
    before = RECENT.last
    structlog.get_logger("appliance.x").warning("a thing", password="hush", who="+221771234567", count=3)
    logging.getLogger("library").info("said by %s", "a library")
    structlog.get_logger("appliance.x").debug("too little")
    first, second = RECENT.after(before)
    assert (first.level, first.source, first.session) == ("warning", "daemon", None)
    assert first.text.startswith("a thing ")
    assert "count=3" in first.text
    assert "hush" not in first.text
    assert "771234" not in first.text
    assert second.text == "said by a library"


@pytest.mark.usefixtures("stream")
def test_a_traceback_is_one_entry_for_each_of_its_lines() -> None:
    before = RECENT.last
    try:
        raise ValueError("a reason")
    except ValueError:
        structlog.get_logger("appliance.x").exception("it failed")
    lines = [entry.text for entry in RECENT.after(before)]
    assert lines[0] == "it failed"
    assert lines[-1] == "ValueError: a reason"
    assert all("\n" not in line for line in lines)


def test_it_is_bounded_and_a_reader_gets_what_is_new() -> None:
    log = RecentLog(kept=3)
    for number in range(5):
        log.handle(record(f"line {number}"))
    assert [entry.text for entry in log.after(0)] == ["line 2", "line 3", "line 4"]
    assert [entry.text for entry in log.after(4)] == ["line 4"]
    assert log.after(5) == []
    assert log.last == 5
    log.handle(record("x" * 2 * LINE_MAX))
    assert len(log.after(5)[0].text) == LINE_MAX
