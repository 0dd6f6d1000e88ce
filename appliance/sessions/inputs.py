"""What a session's state machine is fed with, and the effects that it asks for. Data only.

The machine never does anything itself: the supervisor turns what happens into inputs and carries the effects out.
"""

from __future__ import annotations

import msgspec

from appliance.protocol import EngineState, Event
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason, Severity


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """The moment of an input. `at` never jumps (steady clock); `wall` is what the ledger shows; `chance` is uniform in
    [0, 1); `outage`: the fleet-wide breaker is open, so nothing is this session's own fault."""

    at: float
    wall: float
    chance: float = 0.5
    outage: bool = False


# ---- inputs ---------------------------------------------------------------------------------------------------------


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon starts. `pid` is the session's process that still runs, if any."""

    pid: int | None = None


class Start(msgspec.Struct, frozen=True):
    """The operator wants it to run."""


class Stop(msgspec.Struct, frozen=True):
    """The operator wants it not to run."""


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """The operator, or an upgrade, wants a new process."""

    reason: DisconnectReason = DisconnectReason.RESTARTED


class Nudge(msgspec.Struct, frozen=True):
    """There is proof that waiting serves nothing any more, or the session is to be the canary: try now."""


class Excused(msgspec.Struct, frozen=True, kw_only=True):
    """Many sessions were lost within `window_s`, this one too: that was no failure of its own."""

    window_s: float


class Granted(msgspec.Struct, frozen=True):
    """The fleet lets this session start now."""


class Spawned(msgspec.Struct, frozen=True, kw_only=True):
    pid: int


class SpawnFailed(msgspec.Struct, frozen=True, kw_only=True):
    """`lost`: the fork server itself was not there; `proxy`: the session's proxy cannot be used."""

    error: str
    lost: bool = False
    proxy: bool = False


class Greeted(msgspec.Struct, frozen=True, kw_only=True):
    """The process introduced itself, for the first time or after the link was lost."""

    pid: int
    engine_state: EngineState
    connected_at: float | None = None


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """The process of a linking attempt has become the session's; an older one, if any, is no longer ours to watch."""

    pid: int
    engine_state: EngineState
    connected_at: float | None = None


class Got(msgspec.Struct, frozen=True, kw_only=True):
    """An event that process `pid` sent. `past`: it was recorded by an earlier one on the same store."""

    pid: int
    event: Event
    past: bool = False


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of life is too old: ask for more."""

    pid: int
    text: str


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a probe, or that there was none (`error`)."""

    pid: int
    error: str | None = None


class Condemned(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence proves that the process must be replaced."""

    pid: int
    reason: DisconnectReason
    text: str


class Exited(msgspec.Struct, frozen=True, kw_only=True):
    """The process is proven dead. `lost`: it went down with the fork server; `out_of_memory`: killed by the kernel."""

    pid: int
    status: int | None = None
    signal: int | None = None
    at: float | None = None
    lost: bool = False
    out_of_memory: bool = False


class Clock(msgspec.Struct, frozen=True):
    """A deadline of the machine has come (or none: harmless)."""


Input = (
    Boot
    | Start
    | Stop
    | Restart
    | Nudge
    | Excused
    | Granted
    | Spawned
    | SpawnFailed
    | Greeted
    | Promoted
    | Got
    | Doubt
    | Probed
    | Condemned
    | Exited
    | Clock
)


# ---- effects --------------------------------------------------------------------------------------------------------


class AskStart(msgspec.Struct, frozen=True):
    """Ask the fleet for a turn; answered by `Granted`, some time."""


class CancelStart(msgspec.Struct, frozen=True):
    """The turn is no longer wanted."""


class SpawnWorker(msgspec.Struct, frozen=True):
    """Answered by `Spawned` or `SpawnFailed`."""


class EndWorker(msgspec.Struct, frozen=True, kw_only=True):
    """Answered by `Exited`. `gently`: let it end in order first; `dump`: have its stacks written before."""

    pid: int
    gently: bool
    dump: bool = False


class ProbeWorker(msgspec.Struct, frozen=True, kw_only=True):
    """Answered by exactly one `Probed`."""

    pid: int


class OpenRow(msgspec.Struct, frozen=True, kw_only=True):
    """A connection that had logged in was lost: one row of the ledger."""

    at: float
    reason: DisconnectReason
    connected_at: float
    uptime_s: float
    action: Action
    charged: bool
    signal: str = ""
    code: int | None = None
    raw: str = ""


class RefineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A later signal says more precisely why the last connection was lost."""

    reason: DisconnectReason
    signal: str
    code: int | None
    raw: str


class CloseRows(msgspec.Struct, frozen=True, kw_only=True):
    """The session is back."""

    at: float


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """For the fleet-wide breaker: a connection or an attempt failed for this reason."""

    reason: DisconnectReason


class LoggedIn(msgspec.Struct, frozen=True):
    """For the fleet-wide breaker: WhatsApp let this session in just now."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """For the alert rules."""

    severity: Severity
    reason: DisconnectReason
    text: str


Effect = (
    AskStart
    | CancelStart
    | SpawnWorker
    | EndWorker
    | ProbeWorker
    | OpenRow
    | RefineRow
    | CloseRows
    | Lost
    | LoggedIn
    | Alarm
)
