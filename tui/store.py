"""What the interface knows: a snapshot, kept true by numbered deltas, with its age. Pure: no clock, no connection.

A delta says that a session's state has changed; what else has changed with it (counters, sizes) is not in it, so it
also leaves a note that those facts are stale. A number that is missing means that deltas were lost: then only a new
snapshot helps.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from appliance.model import ADVICE, EventView, PairingView, SessionState, SessionView
from appliance.model_access import CallerView
from appliance.model_api import Scope, StatusView
from appliance.model_history import AlertPhase, AlertView, UptimeStrip
from appliance.model_storage import StorageUsage


class Topic(enum.Enum):
    """A group of facts that are read together."""

    SESSIONS = enum.auto()
    STATUS = enum.auto()
    PAIRINGS = enum.auto()
    ALERTS = enum.auto()
    UPTIME = enum.auto()
    HOURS = enum.auto()
    STORAGE = enum.auto()


class Link(enum.Enum):
    """Whether what is shown is the present."""

    CONNECTING = enum.auto()
    LIVE = enum.auto()
    GONE = enum.auto()


class Outcome(enum.Enum):
    """What a delta was."""

    APPLIED = enum.auto()
    KNOWN = enum.auto()
    """Older than the snapshot: it is in it."""
    GAP = enum.auto()
    """Deltas before it were lost, or the appliance counts anew: take a new snapshot."""


_TOPICS: Final = {
    "session": (Topic.SESSIONS, Topic.HOURS),
    "pairing": (Topic.PAIRINGS,),
    "alert": (Topic.ALERTS,),
    "media": (Topic.SESSIONS, Topic.STATUS, Topic.STORAGE),
    "storage": (Topic.SESSIONS, Topic.STATUS, Topic.STORAGE),
    "appliance": (Topic.STATUS, Topic.SESSIONS, Topic.PAIRINGS, Topic.ALERTS),
}
"""What an event makes stale, by the first word of its type."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one moment; `seq`: number of the last event before it was taken."""

    status: StatusView
    sessions: Sequence[SessionView]
    seq: int
    caller: CallerView | None = None
    """Who looks; None: the appliance is of a release that does not say it."""


class Store:
    """Mutable, and written to by one attachment only. `revision` grows with every change that a screen may show."""

    def __init__(self) -> None:
        self.sessions: dict[str, SessionView] = {}
        self.status: StatusView | None = None
        self.caller: CallerView | None = None
        """Who looks, and what they may do."""
        self.strips: dict[str, UptimeStrip] = {}
        self.hours: tuple[int, ...] = ()
        """Disconnections of today, hour by hour."""
        self.pairings: dict[str, PairingView] = {}
        self.alerts: tuple[AlertView, ...] = ()
        self.storage: StorageUsage | None = None
        self.seq = 0
        self.link = Link.CONNECTING
        self.note = ""
        """Why the connection is gone."""
        self.fresh_at: float | None = None
        """When the appliance was last heard."""
        self.stale: set[Topic] = set()
        self.revision = 0

    # ---- what comes in

    def load(self, snapshot: Snapshot, now: float) -> None:
        """Replace everything by a snapshot; what is read separately is stale."""
        self.status, self.caller = snapshot.status, snapshot.caller
        self.sessions = {view.id: view for view in snapshot.sessions}
        self.seq = snapshot.seq
        self.link, self.note, self.fresh_at = Link.LIVE, "", now
        self.stale = set(Topic) - {Topic.SESSIONS, Topic.STATUS}
        self.revision += 1

    def apply(self, event: EventView, now: float) -> Outcome:
        """Take in one delta."""
        if event.seq <= self.seq:
            return Outcome.KNOWN
        if event.seq != self.seq + 1:
            return Outcome.GAP
        self.seq, self.fresh_at = event.seq, now
        self.stale.update(_TOPICS.get(event.type.partition(".")[0], ()))
        if event.type == "session.state" and event.session in self.sessions:
            self._change_state(self.sessions[event.session], event)
        return Outcome.APPLIED

    def refresh_sessions(self, views: Iterable[SessionView], now: float) -> None:
        """The sessions as they were read; the revision grows only if something differs."""
        found = {view.id: view for view in views}
        self.heard(now)
        if found != self.sessions:
            self.sessions = found
            self.revision += 1

    def refresh_status(self, status: StatusView, now: float) -> None:
        self.heard(now)
        if status != self.status:
            self.status = status
            self.revision += 1

    def refresh_pairings(self, views: Iterable[PairingView]) -> None:
        self.pairings = {view.id: view for view in views}
        self.revision += 1

    def refresh_alerts(self, views: Iterable[AlertView]) -> None:
        self.alerts = tuple(views)
        self.revision += 1

    def refresh_uptime(self, strips: Iterable[UptimeStrip]) -> None:
        self.strips = {strip.session: strip for strip in strips}
        self.revision += 1

    def refresh_storage(self, usage: StorageUsage) -> None:
        if usage != self.storage:
            self.storage = usage
            self.revision += 1

    def refresh_hours(self, hours: Iterable[int]) -> None:
        found = tuple(hours)
        if found != self.hours:
            self.hours = found
            self.revision += 1

    def heard(self, now: float) -> None:
        """The appliance has answered."""
        self.fresh_at = now
        if self.link is not Link.LIVE:
            self.link, self.note = Link.LIVE, ""
            self.revision += 1

    def lost(self, note: str) -> None:
        """Nobody answers: what is shown grows old from now on."""
        if self.link is not Link.GONE or self.note != note:
            self.link, self.note = Link.GONE, note
            self.revision += 1

    # ---- what can be asked

    @property
    def only_looks(self) -> bool:
        """Whoever looks may do no more than that; what is not known is tried."""
        return self.caller is not None and not self.caller.scope.includes(Scope.OPERATE)

    def age(self, now: float) -> float | None:
        """Seconds since the appliance was last heard; None: never."""
        return None if self.fresh_at is None else max(0.0, now - self.fresh_at)

    @property
    def online(self) -> int:
        return sum(view.state is SessionState.ONLINE for view in self.sessions.values())

    @property
    def disconnections_today(self) -> int:
        return sum(view.disconnections_today for view in self.sessions.values())

    @property
    def open_alerts(self) -> int:
        return sum(alert.phase is AlertPhase.DOWN and alert.acknowledged_by is None for alert in self.alerts)

    def frozen(self) -> Store:
        """A copy that stays as it is: what a paused screen shows."""
        copy = Store()
        copy.__dict__.update(self.__dict__)
        copy.sessions, copy.stale = dict(self.sessions), set()
        return copy

    def _change_state(self, view: SessionView, event: EventView) -> None:
        try:
            state = SessionState(str(event.data.get("state")))
        except ValueError:  # of a newer release
            return
        advice = ADVICE[state]
        self.sessions[view.id] = msgspec.structs.replace(
            view,
            state=state,
            meaning=advice.meaning,
            remedy=advice.remedy.replace(" ID", f" {view.id}"),
            detail=str(event.data.get("detail", "")),
            since=event.at if state is not view.state else view.since,
        )
        self.revision += 1
