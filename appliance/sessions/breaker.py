"""Who may start, and when: at most so many a second, and during an outage only one canary at a time.

When many sessions are lost within a minute, the network or WhatsApp is the cause, and sixty that hammer at it are
a second outage, of our own two cores. So starts are paused and one session tries for all of them; the first login that
succeeds, its own or anybody's, lets the others in again. A refusal of the engine's version works the same way, with
hours between two canaries.

Pure: time and chance come in as arguments, and what may start comes out.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.sessions.reasons import REASONS, DisconnectReason
from appliance.sessions.settings import FleetSettings

MAX_STEP: Final = 20
"""Beyond any cap; keeps the power finite."""


class BreakerState(enum.StrEnum):
    CLOSED = "closed"
    """Everybody may start."""
    OUTAGE = "outage"
    OUTDATED = "outdated"


class Turn(msgspec.Struct, frozen=True):
    """What `take` found. `session` may start now; `wanted`: a canary is due, but nobody asks: wake somebody up."""

    session: str | None = None
    wanted: bool = False


class FleetGate:
    """Tell it of requests, losses and logins; ask it with `take` until that gives nothing, and again at `wake_at`."""

    def __init__(self, settings: FleetSettings) -> None:
        self.settings = settings
        self.state = BreakerState.CLOSED
        self.canary: str | None = None
        self._queue: dict[str, None] = {}
        self._down: dict[str, float] = {}
        self._lost: dict[str, float] = {}
        """Latest loss of each session, also of those that are back."""
        self._told: dict[str, float] = {}
        """Which of these was found to be a common trouble already."""
        self._next_start = 0.0
        self._next_canary = 0.0
        self._once_more = False
        """Whether somebody asked while a canary was on its way: maybe too late for it."""
        self._step = 0
        self._last_canary: str | None = None

    @property
    def open(self) -> bool:
        """Whether starts are paused."""
        return self.state is not BreakerState.CLOSED

    def ask(self, session: str) -> None:
        """A session wants to start; asking twice changes nothing."""
        self._queue.setdefault(session)

    def cancel(self, session: str) -> None:
        """It does not any more."""
        self._queue.pop(session, None)

    def forget(self, session: str, now: float, chance: float) -> None:
        """The session was removed or stopped: it can be neither lost nor the canary."""
        self.cancel(session)
        for of_session in (self._down, self._lost, self._told):
            of_session.pop(session, None)
        self._canary_failed(session, now, chance)

    def lost(self, session: str, reason: DisconnectReason, fleet: int, now: float, chance: float) -> bool:
        """A connection or an attempt failed; `fleet` is the number of sessions that should be online. True if this
        has opened the breaker."""
        self._canary_failed(session, now, chance)
        if reason is DisconnectReason.OUTDATED:
            return self._open(BreakerState.OUTDATED, now, chance)
        if not REASONS[reason].outage:
            return False
        self._down[session] = self._lost[session] = now
        return self._are_many(self._down, fleet, now) and self._open(BreakerState.OUTAGE, now, chance)

    def common(self, fleet: int, now: float) -> list[str]:
        """Sessions whose latest loss was a trouble of many: as many were lost within a moment as make an outage, even
        if the first ones are back already. Each loss is named once."""
        if not self._are_many(self._lost, fleet, now):
            return []
        found = [
            session
            for session, at in self._lost.items()
            if now - at <= self.settings.outage_window_s and self._told.get(session) != at
        ]
        self._told.update({session: self._lost[session] for session in found})
        return found

    def logged_in(self, session: str) -> bool:
        """WhatsApp let a session in. True if this has closed the breaker: everybody may try again."""
        self._down.pop(session, None)
        if not self.open:
            return False
        self.state = BreakerState.CLOSED
        self.canary = self._last_canary = None
        self._once_more = False
        self._down.clear()
        self._step = 0
        return True

    def resume_outdated(self, now: float) -> None:
        """The daemon starts and finds sessions that were refused as outdated: maybe the engine is a newer one now."""
        self.state = BreakerState.OUTDATED
        self._next_canary = now

    def try_now(self, now: float) -> None:
        """A person asks, or there is another engine: whether it is still refused need not wait for hours."""
        if self.state is BreakerState.OUTDATED:
            self._next_canary = min(self._next_canary, now)
            self._once_more = self.canary is not None

    def take(self, now: float) -> Turn:
        """The next session that may start now, if there is one."""
        if self.open:
            return self._take_canary(now)
        if not self._queue or now < self._next_start:
            return Turn()
        session = next(iter(self._queue))
        del self._queue[session]
        self._next_start = max(now, self._next_start) + 1 / self.settings.starts_per_s
        return Turn(session=session)

    def wake_at(self) -> float | None:
        """When `take` may give something again; None: only after something else has happened."""
        if self.open:
            return None if self.canary is not None else self._next_canary
        return self._next_start if self._queue else None

    def _are_many(self, losses: dict[str, float], fleet: int, now: float) -> bool:
        recent = sum(now - at <= self.settings.outage_window_s for at in losses.values())
        return recent >= max(self.settings.outage_minimum, self.settings.outage_share * fleet)

    def _take_canary(self, now: float) -> Turn:
        if self.canary is not None or now < self._next_canary:
            return Turn()
        if not self._queue:
            self._next_canary = now + self.settings.canary_cap_s  # whoever is woken asks, and is then looked at at once
            return Turn(wanted=True)
        others = [session for session in self._queue if session != self._last_canary]
        session = others[0] if others else next(iter(self._queue))
        del self._queue[session]
        self.canary = self._last_canary = session
        return Turn(session=session)

    def canary_asks(self, session: str, now: float) -> None:
        """Somebody was woken up to be the canary and asks now."""
        self.ask(session)
        self._next_canary = now

    def _canary_failed(self, session: str, now: float, chance: float) -> None:
        if session == self.canary:
            self.canary = None
            self._schedule_canary(now, chance)
            if self._once_more:
                self._once_more = False
                self._next_canary = now

    def _open(self, state: BreakerState, now: float, chance: float) -> bool:
        if self.state is state or self.state is BreakerState.OUTDATED:
            return False
        self.state = state
        self.canary = None
        self._step = 0
        self._schedule_canary(now, chance)
        return True

    def _schedule_canary(self, now: float, chance: float) -> None:
        """Between half and all of a step that doubles: never at once, never in a rhythm."""
        outdated = self.state is BreakerState.OUTDATED
        base = self.settings.outdated_canary_base_s if outdated else self.settings.canary_base_s
        cap = self.settings.outdated_canary_cap_s if outdated else self.settings.canary_cap_s
        self._next_canary = now + min(cap, base * 2.0**self._step) * (1 + chance) / 2
        self._step = min(self._step + 1, MAX_STEP)
