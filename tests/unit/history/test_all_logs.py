"""One stream of all logs: in order of time, filtered, over new links and removals."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.history import all_logs
from appliance.history.all_logs import AllLogs, entries
from appliance.model_history import LogEntry, LogLevel, LogSource, LogsQuery
from appliance.recent_log import RecentLog


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stores: dict[str, Path] = {}
        self.recent = RecentLog()
        self.logs = AllLogs(self.find, self.recent)

    async def find(self) -> Mapping[str, Path]:
        return self.stores

    def write(self, session: str, at: float, level: str, text: str, store: str = "first") -> None:
        place = self.stores[session] = self.folder / session / store
        place.mkdir(parents=True, exist_ok=True)
        with (place / "worker.log").open("a") as log:
            log.write(json.dumps({"at": at, "level": level, "text": text}) + "\n")

    def say(self, at: float, text: str, level: int = logging.INFO) -> None:
        record = logging.LogRecord("a", level, "a.py", 1, text, None, None)
        record.created = at
        self.recent.handle(record)

    async def read(self, **query: object) -> list[LogEntry]:
        return [entry async for found in self.logs.read(LogsQuery(**query)) for entry in found]  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.write("awa", 10.0, "INFO", "first")
    made.write("binta", 12.0, "WARN", "third")
    made.write("awa", 14.0, "DEBUG", "a detail")
    made.say(11.0, "second")
    made.say(13.0, "fourth", logging.ERROR)
    return made


async def test_everybody_s_lines_in_order_of_time(world: World) -> None:
    found = await world.read()
    assert [(one.text, one.session, one.source) for one in found] == [
        ("first", "awa", "session"),
        ("second", None, "daemon"),
        ("third", "binta", "session"),
        ("fourth", None, "daemon"),
    ]


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ({"lines": 2}, ["third", "fourth"]),
        ({"lines": 0}, []),
        ({"level": LogLevel.WARNING}, ["third", "fourth"]),
        ({"level": LogLevel.DEBUG, "session": "awa"}, ["first", "a detail"]),
        ({"source": LogSource.DAEMON}, ["second", "fourth"]),
        ({"source": LogSource.SESSION}, ["first", "third"]),
        ({"source": LogSource.DAEMON, "session": "awa"}, []),
        ({"session": "nobody"}, []),
    ],
)
async def test_filters(world: World, query: dict[str, object], texts: list[str]) -> None:
    assert [one.text for one in await world.read(**query)] == texts


async def test_following_over_a_new_link_and_a_removal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_logs, "LOOK_S", 0.0)
    stream = world.logs.read(LogsQuery(lines=1, follow=True))
    assert [one.text for one in await anext(stream)] == ["fourth"]
    assert await anext(stream) == []
    world.say(20.0, "later")
    world.write("awa", 21.0, "INFO", "linked anew", store="second")
    assert [one.text for one in await anext(stream)] == ["later", "linked anew"]
    del world.stores["awa"]
    world.write("binta", 22.0, "INFO", "goes on")
    assert [one.text for one in await anext(stream)] == ["goes on"]
    await stream.aclose()  # type: ignore[attr-defined]


def test_what_a_library_prints_has_the_time_of_the_line_before() -> None:
    ours = json.dumps({"at": 5.0, "level": "INFO", "text": "ours"})
    found = entries("awa", [ours, "panic: runtime error"])
    assert [(one.at, one.level, one.text) for one in found] == [
        (5.0, "info", "ours"),
        (5.0, "error", "panic: runtime error"),
    ]


def test_a_level_that_is_not_known_is_shown() -> None:
    assert LogLevel.ERROR.includes("critical")
    assert not LogLevel.WARNING.includes("info")
