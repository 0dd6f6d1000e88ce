"""What a session's state machine remembers: across restarts of the daemon (`Memory`), and of its live connection."""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import SessionState
from appliance.protocol import Signal
from appliance.sessions.inputs import Now
from appliance.sessions.policy import Decision, History
from appliance.sessions.reasons import DisconnectReason

SAME_CONNECTION_S: Final = 1.0
"""Two reports of one login differ by less: both are stamped by the same process within milliseconds."""
CLOCK_TOLERANCE_S: Final = 5.0
"""An uptime by the worker's clock that exceeds ours by more was measured across a step of the wall clock."""


class Phase(enum.StrEnum):
    """Whether there is a process; this alone decides whether another may be forked."""

    IDLE = "idle"
    """No process, and none asked for."""
    QUEUED = "queued"
    """No process; waiting for the fleet's permission."""
    SPAWNING = "spawning"
    RUNNING = "running"
    ENDING = "ending"
    """Told to end, not yet proven dead."""


RESTING: Final = frozenset(
    {
        SessionState.NEW,
        SessionState.NEEDS_PAIRING,
        SessionState.REPLACED,
        SessionState.BANNED,
        SessionState.OUTDATED,
        SessionState.FAILED,
    }
)
"""States that `stop` does not overwrite: what they say is still true of a session that does not run."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """A process that was told to end, why, and what follows (None: nothing)."""

    pid: int
    reason: DisconnectReason
    decision: Decision | None


class Memory(msgspec.Struct, kw_only=True):
    """What outlives the daemon. Wall-clock times, except within `history`."""

    wanted: bool = True
    state: SessionState = SessionState.NEW
    since: float = 0.0
    detail: str = ""
    history: History = History()
    live_at: float | None = None
    """Login time of the connection that is believed to live; None if none does."""
    live_from_hello: bool = False
    """Only a hello told of it: the event of its login may still come."""
    past_at: float | None = None
    """Login time of a connection of an ended process whose end is not written down yet."""
    told_at: float | None = None
    """Login time of the last lost connection of which only a hello had told: the event of its login may still come."""
    ending: Ending | None = None
    """What is decided already, and has its row, but is not yet done: should the daemon die, the next one goes on."""
    phone_seen_at: float | None = None
    """When the account's own phone last did something that we were told of; None: not yet."""
    retry_at: float | None = None
    not_before: float | None = None
    """No attempt before this: the end of a temporary ban, or of the hold on linking after a ban."""
    linked: bool = False
    """Whether the store holds credentials that WhatsApp accepts, as far as we know."""


def is_of(signal: Signal, connected_at: float) -> bool:
    """Whether a signal speaks of the connection that logged in at that time."""
    return signal.connected_at is not None and abs(signal.connected_at - connected_at) < SAME_CONNECTION_S


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that had logged in and is lost."""

    connected_at: float
    uptime_s: float
    from_hello: bool


class LiveConnection:
    """The one connection that is believed to live. Each of them ends exactly once."""

    def __init__(self) -> None:
        self.at: float | None = None
        self.from_hello = False
        """Only a hello told of it: the event of its login may still come."""
        self._since = 0.0

    def begin(self, connected_at: float, now: Now, *, from_hello: bool = False) -> None:
        """A login at `connected_at` by the wall clock."""
        self.at = connected_at
        self.from_hello = from_hello
        self._since = now.at - max(0.0, now.wall - connected_at)

    def is_same(self, connected_at: float) -> bool:
        """Whether a reported login is the one that is known already."""
        return self.at is not None and (self.from_hello or abs(self.at - connected_at) < SAME_CONNECTION_S)

    def was_told(self, signal: Signal) -> bool:
        """Whether a signal speaks of another connection, whose end is known already, or of none at all: a hello is
        heard before the events that came before it. Which login it means is told by identity, never by which of two
        times is later: the clock may have been set between them."""
        if self.at is None:
            return signal.connected_at is not None
        if signal.connected_at is None:
            return True
        return not is_of(signal, self.at)

    def uptime(self, now: Now, at: float | None = None) -> float | None:
        """How long it has been up, until `at` by its worker's clock if that is known; None if nothing lives."""
        if self.at is None:
            return None
        ours = max(0.0, now.at - self._since)
        theirs = ours if at is None else at - self.at
        return theirs if 0.0 <= theirs <= ours + CLOCK_TOLERANCE_S else ours

    def end(self, now: Now, at: float | None = None) -> Ended | None:
        """It is lost; None if nothing lived."""
        connected_at, uptime, from_hello = self.at, self.uptime(now, at), self.from_hello
        self.at = None
        self.from_hello = False
        if connected_at is None or uptime is None:
            return None
        return Ended(connected_at=connected_at, uptime_s=uptime, from_hello=from_hello)
