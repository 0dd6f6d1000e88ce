"""Lines of every log and every event as one list for people: who, when, how serious, what. Pure."""

from __future__ import annotations

import collections
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from appliance.model import EventView, SessionState
from appliance.model_history import LogEntry, LogLevel, LogSource
from tui.text import N_, _
from tui.words import STATES, Concern, collation, moment

KEPT: Final = 3000
"""Lines; what is older is read again by choosing less: one session, or what is more serious."""
_SERIOUS: Final = {Concern.PERSON: LogLevel.ERROR, Concern.TROUBLE: LogLevel.WARNING}


class Source(enum.StrEnum):
    """Whose lines are shown."""

    EVERYTHING = "everything"
    DAEMON = "daemon"
    SESSIONS = "sessions"
    EVENTS = "events"

    @property
    def log(self) -> LogSource | None:
        """What the API calls it."""
        return {Source.DAEMON: LogSource.DAEMON, Source.SESSIONS: LogSource.SESSION}.get(self)

    @property
    def has_log(self) -> bool:
        return self is not Source.EVENTS

    @property
    def has_events(self) -> bool:
        return self in (Source.EVERYTHING, Source.EVENTS)


SOURCES: Final = {
    Source.EVERYTHING: N_("everything"),
    Source.DAEMON: N_("daemon"),
    Source.SESSIONS: N_("sessions"),
    Source.EVENTS: N_("events"),
}
LEVELS: Final = {
    LogLevel.INFO: N_("all but details"),
    LogLevel.WARNING: N_("warnings and errors"),
    LogLevel.ERROR: N_("errors only"),
    LogLevel.DEBUG: N_("with all details"),
}
"""In the order in which a key goes through them."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `who`: a session's id, otherwise empty; `event`: it is one, and no line of a log."""

    at: float
    who: str
    level: str
    text: str
    event: bool = False
    number: int = 0
    """Grows with every row that is taken in."""


def row_of(entry: LogEntry) -> Row:
    return Row(at=entry.at, who=entry.session or "", level=entry.level, text=clean(entry.text))


def row_of_event(event: EventView) -> Row:
    """An event with what is in it; how serious a state is, the table of states says."""
    level = LogLevel.INFO
    if event.type == "session.state":
        level = _seriousness(str(event.data.get("state")))
    elif event.type.startswith("alert."):
        level = LogLevel.WARNING
    facts = " ".join(
        f"{name}={value}" for name, value in event.data.items() if name != "id" and value not in ("", None)
    )
    return Row(at=event.at, who=event.session or "", level=level, text=clean(f"{event.type} {facts}"), event=True)


def _seriousness(state: str) -> LogLevel:
    try:
        return _SERIOUS.get(STATES[SessionState(state)].concern, LogLevel.INFO)
    except ValueError:  # of a newer release
        return LogLevel.INFO


def clean(text: str) -> str:
    """Without anything that a terminal would obey: lines hold what libraries and strangers said."""
    return "".join(letter if letter.isprintable() else " " for letter in text).rstrip()


class Logbook:
    """The last lines, in the order of their time; two streams write into it, and neither waits for the other."""

    def __init__(self, kept: int = KEPT) -> None:
        self._rows: collections.deque[Row] = collections.deque(maxlen=kept)
        self._count = 0

    def clear(self) -> None:
        self._rows.clear()

    def take(self, row: Row) -> None:
        """Nearly always at the end; one of another stream that was later goes back a few places."""
        self._count += 1
        row = msgspec.structs.replace(row, number=self._count)
        later = []
        while self._rows and self._rows[-1].at > row.at:
            later.append(self._rows.pop())
        self._rows.append(row)
        self._rows.extend(reversed(later))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)


def matching(rows: Iterable[Row], words: str, names: dict[str, str]) -> list[Row]:
    """Those that have every word, in their text or in who wrote them. `names`: of sessions, by id."""
    wanted = collation(words).split()
    if not wanted:
        return list(rows)
    return [row for row in rows if all(word in _searched(row, names) for word in wanted)]


def _searched(row: Row, names: dict[str, str]) -> str:
    return collation(f"{row.who} {names.get(row.who, '')} {row.level} {row.text}")


def saved(rows: Sequence[Row], now: float) -> str:
    """The lines as a text file."""
    return "".join(f"{moment(row.at, now)}  {row.who or '-':<20} {row.level:<8} {row.text}\n" for row in rows)


def who_word(row: Row, names: dict[str, str]) -> str:
    """Who speaks, for people."""
    if row.who:
        return names.get(row.who, row.who)
    return _("event") if row.event else _("daemon")
