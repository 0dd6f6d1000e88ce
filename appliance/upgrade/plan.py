"""The course of an upgrade as pure functions: what is done next, and what a success or a failure leads to.

Forwards, each step leaves something that works. A failure before anything has changed ends it; after that everything
goes back, in an order of its own: the fork server first, because what is forked from then on is the old code again,
then the sessions, and the daemon last, because a daemon understands the release before its own and not the one after.
Every step may be done again from its beginning: whoever was killed in the middle of one does just that.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Kind(enum.StrEnum):
    RELEASE = "release"
    ENGINE = "engine"


class Step(enum.StrEnum):
    STAGE = "stage"
    """Put it beside what runs."""
    REHEARSE = "rehearse"
    """An engine passes on the staging network before any user's session gets it."""
    BACK_UP = "back_up"
    DAEMON = "daemon"
    """Settings, units and the link `current`; the daemon starts anew and migrates its database."""
    ENGINE = "engine"
    """What a fork server loads when the machine starts."""
    FORK_SERVER = "fork_server"
    CANARY = "canary"
    SESSIONS = "sessions"
    TIDY = "tidy"
    BACK_ENGINE = "back_engine"
    BACK_FORK_SERVER = "back_fork_server"
    BACK_SESSIONS = "back_sessions"
    BACK_DAEMON = "back_daemon"
    BACK_REST = "back_rest"
    """Sessions that the failing daemon could not move."""


class Outcome(enum.StrEnum):
    DONE = "done"
    UNDONE = "undone"
    """Everything is as before: it failed, or somebody went back."""


FORWARDS: Final = {
    Kind.RELEASE: (
        *(Step.STAGE, Step.BACK_UP, Step.DAEMON, Step.FORK_SERVER),
        *(Step.CANARY, Step.SESSIONS, Step.TIDY),
    ),
    Kind.ENGINE: (
        *(Step.STAGE, Step.REHEARSE, Step.BACK_UP, Step.ENGINE, Step.FORK_SERVER),
        *(Step.CANARY, Step.SESSIONS, Step.TIDY),
    ),
}
BACKWARDS: Final = {
    Kind.RELEASE: (Step.BACK_FORK_SERVER, Step.BACK_SESSIONS, Step.BACK_DAEMON, Step.BACK_REST),
    Kind.ENGINE: (Step.BACK_ENGINE, Step.BACK_FORK_SERVER, Step.BACK_SESSIONS),
}
HARMLESS: Final = frozenset({Step.STAGE, Step.REHEARSE, Step.BACK_UP})
"""Steps that change nothing of what runs: after a failure there is nothing to take back."""
SETTLED: Final = frozenset({Step.TIDY})
"""Steps after which everything has moved: a failure is told, and nothing goes back for it."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A release or an engine that lies in a folder of its own. An engine without folder came with the release."""

    name: str
    """Of its folder: version and content."""
    folder: str
    version: str


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """All that an upgrade must know to go on after it was killed. Fields are only ever added, with a default."""

    id: str
    kind: Kind
    source: Place
    target: Place
    origin: list[str]
    """Where the target comes from, as arguments of the installer; empty: it lies there already."""
    canary: int
    watch_s: float
    step: Step
    """Under way, or to be begun."""
    driver: str
    """Interpreter of the release whose code does all this, to its end."""
    started_at: float
    updated_at: float
    schema: int = 0
    """Of the database, before."""
    engine: str = ""
    """Folder of the engine that sessions had before, if it was one of its own; …"""
    engine_after: str = ""
    """… and of the one that they shall have with another release: the newer one of theirs and the release's."""
    degraded: list[str] = []
    """Parts that were not well before: nobody expects them to be afterwards."""
    backup: str = ""
    sessions: int = 0
    """That were online before."""
    moved: int = 0
    """Sessions that run the code of the present direction, as far as this step has got, …"""
    of: int = 0
    """… of so many."""
    error: str = ""
    """Why it went back, or why it does not go on."""
    remedy: str = ""
    fault: int = 0
    outcome: Outcome | None = None

    @property
    def back(self) -> bool:
        """Whether it is on its way back."""
        return self.step in BACKWARDS[self.kind]


def succeeded(journal: Journal) -> Journal:
    """The step under way is done: what comes next."""
    course = BACKWARDS[journal.kind] if journal.back else FORWARDS[journal.kind]
    following = course[course.index(journal.step) + 1 :]
    if following:
        return msgspec.structs.replace(journal, step=following[0], moved=0)
    return msgspec.structs.replace(journal, outcome=Outcome.UNDONE if journal.back else Outcome.DONE)


def failed(journal: Journal, error: str, remedy: str, fault: int) -> Journal:
    """The step under way cannot be done. On the way back the same step is what has to be tried again."""
    told = msgspec.structs.replace(journal, error=error, remedy=remedy, fault=fault)
    if journal.back:
        return told
    if journal.step in HARMLESS:
        return msgspec.structs.replace(told, outcome=Outcome.UNDONE)
    if journal.step in SETTLED:
        return msgspec.structs.replace(told, outcome=Outcome.DONE)
    return turned_back(told)


def turned_back(journal: Journal) -> Journal:
    """Somebody wants everything as it was, or a step failed: from here on it goes backwards."""
    if journal.back:
        return journal
    if journal.outcome is None and journal.step in HARMLESS:
        return msgspec.structs.replace(journal, outcome=Outcome.UNDONE)
    return msgspec.structs.replace(journal, step=BACKWARDS[journal.kind][0], moved=0, outcome=None)


def place_in(journal: Journal) -> str:
    """How far it is, for people: `3 of 7`."""
    course = BACKWARDS[journal.kind] if journal.back else FORWARDS[journal.kind]
    return f"{course.index(journal.step) + 1} of {len(course)}"


def prunable(releases: dict[str, float], needed: frozenset[str], kept: int) -> list[str]:
    """Which folders (name → when it was installed) can go, oldest first: `kept` stay, and what is needed does."""
    newest = sorted(releases, key=lambda name: (name in needed, releases[name]), reverse=True)
    stay = set(newest[: max(kept, sum(name in needed for name in newest))])
    return [name for name in reversed(newest) if name not in stay]
