"""What everybody says, in one stream: the daemon's own lines and those of every session's process, in order of time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from appliance.database import Database
from appliance.log_tail import TAIL_BYTES, Tail
from appliance.model_history import LogEntry, LogLevel, LogSource, LogsQuery
from appliance.recent_log import RecentLog
from appliance.sessions.registry import store_folder

LOOK_S: Final = 1.0
"""Between two looks at the files: sixty of them take a few milliseconds, and only while somebody follows."""

_LEVELS: Final = {"warn": LogLevel.WARNING.value, "fatal": LogLevel.ERROR.value}
"""The engine's words for ours."""
StoresOf = Callable[[], Awaitable[Mapping[str, Path]]]


class _Written(msgspec.Struct):
    """A line as a session's process writes it."""

    at: float
    level: str
    text: str


def stores_finder(database: Database) -> StoresOf:
    """Finds every linked session's present store."""

    async def find() -> Mapping[str, Path]:
        rows = await database.fetch_all("SELECT id, store_url FROM sessions WHERE store_url IS NOT NULL")
        return {row["id"]: store_folder(row["store_url"]) for row in rows}

    return find


class AllLogs:
    """`recent`: the daemon's own lines."""

    def __init__(self, stores_of: StoresOf, recent: RecentLog) -> None:
        self._stores_of = stores_of
        self._recent = recent

    async def read(self, query: LogsQuery) -> AsyncIterator[list[LogEntry]]:
        """The last lines that match; with `follow` then new ones without end, and an empty list if there are none."""
        daemons = query.source is not LogSource.SESSION and query.session is None
        sessions = query.source is not LogSource.DAEMON
        seen, tails, most = 0, _Tails(query.lines), query.lines
        try:
            while True:
                found = self._recent.after(seen) if daemons else []
                seen = self._recent.last
                if sessions:
                    stores = await self._stores_of()
                    wanted = {name: stores[name] for name in stores if query.session in (None, name)}
                    found += await asyncio.to_thread(tails.read, wanted)
                lines = sorted((one for one in found if query.level.includes(one.level)), key=lambda one: one.at)
                yield lines[max(0, len(lines) - most) :]
                if not query.follow:
                    return
                most = sys.maxsize
                await asyncio.sleep(LOOK_S)
        finally:
            tails.close()


class _Tails:
    """The open logs of sessions. A session that is linked anew has another file, of which everything is new."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._open: dict[str, tuple[Path, Tail]] = {}

    def read(self, stores: Mapping[str, Path]) -> list[LogEntry]:
        for name in self._open.keys() - stores.keys():
            self._open.pop(name)[1].__exit__()
        found = []
        for name, store in stores.items():
            known = self._open.get(name)
            if known is None or known[0] != store:
                if known is not None:
                    known[1].__exit__()
                known = self._open[name] = (store, Tail(store, self._lines if known is None else TAIL_BYTES))
            found += entries(name, known[1].read())
        return found

    def close(self) -> None:
        for _store, tail in self._open.values():
            tail.__exit__()


def entries(session: str, lines: Iterable[str]) -> list[LogEntry]:
    """Lines of a session's log. What is no line of ours, a library has printed: it matters, and its time is that of
    the line before it."""
    found, at = [], 0.0
    for line in lines:
        try:
            written = msgspec.json.decode(line, type=_Written)
        except msgspec.DecodeError:
            written = _Written(at=at, level="error", text=line)
        at = written.at
        found.append(
            LogEntry(
                at=at,
                source=LogSource.SESSION,
                session=session,
                level=_LEVELS.get(written.level.lower(), written.level.lower()),
                text=written.text,
            )
        )
    return found
