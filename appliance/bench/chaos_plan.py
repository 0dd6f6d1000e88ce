"""What goes wrong in `amda bench chaos`, how often and when: pure, repeatable by its seed."""

from __future__ import annotations

import enum
import random
from collections import deque
from typing import Final, NamedTuple

FULL_MINUTES: Final = 5.0
"""The length for which the counts below are meant; shorter rehearsals have proportionally fewer."""
GONE_S: Final = 60.0
"""How long the server is gone: the minute of the issue."""
LEAD_S: Final = 3.0
TAIL_S: Final = 5.0
"""Nothing goes wrong in the first and the last seconds: before there is traffic, and after it."""


class Trouble(enum.StrEnum):
    WORKER_KILLED = "worker_killed"
    WORKER_STOPPED = "worker_stopped"
    """SIGSTOP, for good: nothing but the appliance itself ends this."""
    DAEMON_KILLED = "daemon_killed"
    DAEMON_STOPPED = "daemon_stopped"
    FORK_SERVER_KILLED = "fork_server_killed"
    FORK_SERVER_STOPPED = "fork_server_stopped"
    REDIS_RESTARTED = "redis_restarted"
    SOCKETS_CLOSED = "sockets_closed"
    SOCKETS_RESET = "sockets_reset"
    SOCKETS_STALLED = "sockets_stalled"
    STORM_503 = "storm_503"
    LOGINS_REFUSED = "logins_refused"
    DIAL_HANGS = "dial_hangs"
    SERVER_GONE = "server_gone"
    """For a minute: once for everybody, the other times for a third of the accounts."""
    CLOCK_STEPPED = "clock_stepped"


COUNTS: Final[dict[Trouble, int]] = {
    Trouble.WORKER_KILLED: 18,
    Trouble.WORKER_STOPPED: 8,
    Trouble.DAEMON_KILLED: 6,
    Trouble.DAEMON_STOPPED: 4,
    Trouble.FORK_SERVER_KILLED: 3,
    Trouble.FORK_SERVER_STOPPED: 3,
    Trouble.REDIS_RESTARTED: 5,
    Trouble.SOCKETS_CLOSED: 14,
    Trouble.SOCKETS_RESET: 14,
    Trouble.SOCKETS_STALLED: 8,
    Trouble.STORM_503: 4,
    Trouble.LOGINS_REFUSED: 8,
    Trouble.DIAL_HANGS: 4,
    Trouble.SERVER_GONE: 3,
    Trouble.CLOCK_STEPPED: 6,
}
"""108 in five minutes. Those that hit everybody (fork server, storms, the server gone) are the rare ones, as in life;
the others hit one to three sessions each, so that each session has a trouble of its own once or twice."""


_NEED_CONNECTIONS: Final = frozenset(
    {
        Trouble.SOCKETS_CLOSED,
        Trouble.SOCKETS_RESET,
        Trouble.SOCKETS_STALLED,
        Trouble.STORM_503,
        Trouble.LOGINS_REFUSED,
        Trouble.DIAL_HANGS,
    }
)
_EVERYBODY: Final = 1
"""The second time that the server is gone, it is gone for everybody."""
BACK_S: Final = 10.0
"""After that the first ones are back, and others can be hit."""


class Planned(NamedTuple):
    at_s: float
    """Since the beginning."""
    trouble: Trouble
    number: int
    """The how manieth of its kind, from 0."""
    everybody: bool = False
    """The server is gone for all, not for a third."""


def plan(rng: random.Random, minutes: float) -> list[Planned]:
    """Spread each kind evenly over the time with a random shift, in the order of time.

    What needs a connection is not planned while there can be none: it would strike the first ones to come back.
    """
    length, gone = minutes * 60 - LEAD_S - TAIL_S, gone_s(minutes)
    counts = {trouble: max(1, round(full * minutes / FULL_MINUTES)) for trouble, full in COUNTS.items()}
    dark = min(_EVERYBODY, counts[Trouble.SERVER_GONE] - 1)
    dark_from = LEAD_S + _spread(rng, dark, counts[Trouble.SERVER_GONE]) * (length - gone)
    dark_until = dark_from + gone + BACK_S
    found = []
    for trouble, count in counts.items():
        for number in range(count):
            at_s = LEAD_S + _spread(rng, number, count) * (length - (gone if trouble is Trouble.SERVER_GONE else 0.0))
            everybody = trouble is Trouble.SERVER_GONE and number == dark
            if everybody:
                at_s = dark_from
            elif trouble in _NEED_CONNECTIONS and dark_from <= at_s < dark_until:
                lit = length - (dark_until - dark_from)
                at_s = (dark_until + rng.random() * lit - LEAD_S) % length + LEAD_S
            found.append(Planned(at_s, trouble, number, everybody))
    return sorted(found)


def _spread(rng: random.Random, number: int, count: int) -> float:
    return (number + rng.random()) / count


def gone_s(minutes: float) -> float:
    """How long the server is gone each time; shorter in rehearsals that would consist of nothing else."""
    return min(GONE_S, minutes * 60 / 5)


class Deck:
    """Deals sessions so that each comes up once before any comes up again; nobody more than once in half a deck.

    Otherwise, while few are online (the fork server has just died), these few would be struck again and again, and a
    session that is closed five times within a minute of its login has to cool down: that is the policy, not a defect.
    """

    def __init__(self, rng: random.Random, sessions: list[str]) -> None:
        self._rng = rng
        self._all = sessions
        self._left: list[str] = []
        self._latest: deque[str] = deque(maxlen=len(sessions) // 2)

    def deal(self, allowed: set[str]) -> str | None:
        """The next one that is allowed; None if nobody's turn has come who is."""
        for _ in range(2):
            for position, session in enumerate(self._left):
                if session in allowed and session not in self._latest:
                    self._latest.append(session)
                    return self._left.pop(position)
            if len(self._left) < len(self._all):
                self._left += self._rng.sample(self._all, len(self._all))
        return None

    def some(self, share: float) -> list[str]:
        """A random part of all, at least one; without turning a card."""
        return self._rng.sample(self._all, max(1, round(share * len(self._all))))
