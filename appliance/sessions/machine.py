"""The life of one session as a pure state machine: an input goes in, effects come out, nothing is done in here.

Two things are kept apart: the *phase* of its process (is there one, was it told to end?), which alone decides whether
another may be forked, and the *state* that people see, which is set by evidence. `online` is entered from a login that
the engine reported, a hello that says so, or an answered probe on such a connection; from nothing else.

A second copy cannot come from here: `SpawnWorker` is asked for in one place, from the phase that follows a proven death.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from appliance.model import SessionState
from appliance.protocol import EngineState, Signal, SignalKind
from appliance.sessions import inputs as i
from appliance.sessions.policy import Action, Decision, Failure, History, decide, forgive
from appliance.sessions.reasons import FINAL_STATES, REASONS, DisconnectReason, ReasonClass, classify
from appliance.sessions.settings import KeepaliveSettings, ReconnectSettings

SAME_CONNECTION_S: Final = 1.0
"""Two reports of one login differ by less: both are stamped by the same process within milliseconds."""


class Phase(enum.StrEnum):
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
UNSTARTABLE: Final = frozenset({SessionState.NEW, SessionState.NEEDS_PAIRING})
"""Without credentials nothing can be started; linking comes first."""


class Memory(msgspec.Struct, kw_only=True):
    """What outlives the daemon. Wall-clock times, except within `history`."""

    wanted: bool = True
    state: SessionState = SessionState.NEW
    since: float = 0.0
    detail: str = ""
    history: History = History()
    live_at: float | None = None
    """Login time of the connection that is believed to live; None if none does."""
    retry_at: float | None = None
    not_before: float | None = None
    """No attempt before this: the end of a temporary ban, or of the hold on linking after a ban."""


class SessionMachine:
    """Feed it; carry out what it returns in that order; call again with `Clock` at `wake_at`."""

    def __init__(self, memory: Memory, keepalive: KeepaliveSettings, reconnect: ReconnectSettings) -> None:
        self.memory = memory
        self.keepalive = keepalive
        self.reconnect = reconnect
        self.phase = Phase.IDLE
        self.pid: int | None = None
        self.greeted = False
        self.probing = False
        self._effects: list[i.Effect] = []
        self._live_since = 0.0
        self._live_is_past = False
        self._live_from_hello = False
        self._hello_deadline: float | None = None
        self._login_deadline: float | None = None
        self._retry_at: float | None = None
        self._after_end: Decision | None = None
        self._end_reason = DisconnectReason.CRASH
        self._trouble: DisconnectReason | None = None
        self._close_expected = False
        self._fresh_link = False
        self._abandoned = False

    @property
    def wake_at(self) -> float | None:
        """When `Clock` is due (steady clock); None if nothing is waited for."""
        deadlines = (self._hello_deadline, self._login_deadline, self._retry_at)
        return min((at for at in deadlines if at is not None), default=None)

    def refusal(self, wall: float) -> str | None:
        """Why a start is not possible now; None if it is."""
        memory = self.memory
        if memory.state in UNSTARTABLE:
            return "it has to be linked first"
        if memory.state is SessionState.BANNED and memory.not_before is None:
            return "WhatsApp refuses the account; it has to be linked again"
        if memory.not_before is not None and wall < memory.not_before:
            return "WhatsApp refuses it for a while; an attempt before that is over would prolong it"
        return None

    def feed(self, what: i.Input, now: i.Now) -> list[i.Effect]:
        """Take one input; returns the effects, to be carried out in order."""
        self._effects = []
        match what:
            case i.Got():
                self._got(what, now)
            case i.Exited():
                self._exited(what, now)
            case i.Greeted() | i.Promoted():
                self._greeted(what, now)
            case i.Doubt():
                self._doubt(what, now)
            case i.Probed():
                self._probed(what, now)
            case i.Condemned():
                if self.phase is Phase.RUNNING:
                    self._fail(what.reason, now, detail=what.text)
            case _:
                self._commanded(what, now)
        return self._effects

    # ---- commands and the course of a start ------------------------------------------------------------------------

    def _commanded(self, what: i.Input, now: i.Now) -> None:
        match what:
            case i.Boot():
                self._boot(what, now)
            case i.Start():
                self._start(now)
            case i.Stop():
                self._stop(now)
            case i.Restart():
                self._restart(now)
            case i.Nudge():
                waiting = self._retry_at is not None or self.memory.state is SessionState.OUTDATED
                if self.phase is Phase.IDLE and self.memory.wanted and waiting and self.refusal(now.wall) is None:
                    self._ask()
            case i.Granted():
                if self.phase is Phase.QUEUED:
                    self.phase = Phase.SPAWNING
                    self._effects.append(i.SpawnWorker())
            case i.Spawned():
                self._spawned(what, now)
            case i.SpawnFailed():
                if self.phase is Phase.SPAWNING:
                    self.phase = Phase.IDLE
                    reason = DisconnectReason.FORK_SERVER_LOST if what.lost else DisconnectReason.START_FAILED
                    self._fail(reason, now, detail=what.error)
            case i.Clock():
                self._clock(now)

    def _boot(self, what: i.Boot, now: i.Now) -> None:
        memory = self.memory
        if memory.live_at is not None:
            self._live_since = now.at - max(0.0, now.wall - memory.live_at)
        if what.pid is not None:
            self._run(what.pid, now)
        elif memory.live_at is not None:
            self._exited(i.Exited(pid=0, lost=True), now)
        elif memory.wanted and self.refusal(now.wall) is None and memory.state not in RESTING:
            self._retry_at = now.at + max(0.0, (memory.retry_at or now.wall) - now.wall)
        elif memory.wanted and memory.state is SessionState.BANNED and memory.not_before is not None:
            self._retry_at = now.at + max(0.0, memory.not_before - now.wall)
        elif not memory.wanted:
            self._rest(now)

    def _start(self, now: i.Now) -> None:
        memory = self.memory
        memory.wanted = True
        if self.refusal(now.wall) is not None:
            return
        if self.phase is Phase.IDLE:
            memory.history = forgive(memory.history)
            self._show(SessionState.CONNECTING, now)
            self._ask()
        elif self.phase is Phase.ENDING or self._abandoned:
            self._after_end = self._at_once()
            self._abandoned = False

    def _stop(self, now: i.Now) -> None:
        self.memory.wanted = False
        self._retry_at = self.memory.retry_at = None
        match self.phase:
            case Phase.IDLE:
                self._rest(now)
            case Phase.QUEUED:
                self.phase = Phase.IDLE
                self._effects.append(i.CancelStart())
                self._rest(now)
            case Phase.SPAWNING:
                self._abandoned = True
            case Phase.RUNNING:
                self._lose(DisconnectReason.STOPPED, Action.NEVER, now)
                self._end(DisconnectReason.STOPPED, None)
            case Phase.ENDING:
                pass

    def _restart(self, now: i.Now) -> None:
        if self.phase is Phase.RUNNING:
            self.memory.wanted = True
            self._lose(DisconnectReason.RESTARTED, Action.RESTART, now)
            self._show(SessionState.CONNECTING, now)
            self._end(DisconnectReason.RESTARTED, self._at_once())
        else:
            self._start(now)

    def _at_once(self) -> Decision:
        return Decision(
            action=Action.RESTART, state=SessionState.CONNECTING, history=forgive(self.memory.history), delay_s=0.0
        )

    def _ask(self) -> None:
        self._retry_at = self.memory.retry_at = None
        self.phase = Phase.QUEUED
        self._effects.append(i.AskStart())

    def _spawned(self, what: i.Spawned, now: i.Now) -> None:
        if self.phase is not Phase.SPAWNING:
            return
        self._run(what.pid, now)
        if self._abandoned:
            self._abandoned = False
            self._end(DisconnectReason.STOPPED, None)

    def _run(self, pid: int, now: i.Now) -> None:
        self.phase = Phase.RUNNING
        self.pid = pid
        self.greeted = self.probing = self._close_expected = False
        self._trouble = None
        self._hello_deadline = now.at + self.keepalive.hello_timeout_s

    def _clock(self, now: i.Now) -> None:
        if self._hello_deadline is not None and now.at >= self._hello_deadline:
            self._hello_deadline = None
            self._fail(DisconnectReason.START_FAILED, now, detail="its process did not introduce itself")
        elif self._login_deadline is not None and now.at >= self._login_deadline:
            self._login_deadline = None
            self._fail(DisconnectReason.LOGIN_TIMEOUT, now, detail=self.memory.detail)
        elif self._retry_at is not None and now.at >= self._retry_at:
            self.memory.not_before = None
            if self.memory.state in (SessionState.COOLING, SessionState.BANNED, SessionState.STOPPED):
                self._show(SessionState.CONNECTING, now)
            self._ask()

    # ---- evidence ---------------------------------------------------------------------------------------------------

    def _greeted(self, what: i.Greeted | i.Promoted, now: i.Now) -> None:
        if isinstance(what, i.Promoted):
            self._take_over(what, now)
        elif what.pid != self.pid or self.phase is not Phase.RUNNING:
            return
        first, self.greeted, self._hello_deadline = not self.greeted, True, None
        if what.engine_state is EngineState.CONNECTED:
            if self.memory.live_at is None and what.connected_at is not None:
                self._live(what.connected_at, now)
                self._live_from_hello = True
            self._online(now, now.wall)
        elif first:
            if self.memory.state not in (SessionState.RECONNECTING, SessionState.CONNECTING):
                self._show(SessionState.CONNECTING, now)
            wait = self.keepalive.login_after_pairing_s if self._fresh_link else self.keepalive.login_timeout_s
            self._login_deadline = now.at + wait

    def _take_over(self, what: i.Promoted, now: i.Now) -> None:
        if self.phase is Phase.QUEUED:
            self._effects.append(i.CancelStart())
        self._lose(DisconnectReason.SUPERSEDED, Action.NEVER, now)
        self.memory.wanted = True
        self.memory.history = History()
        self.memory.not_before = self.memory.retry_at = None
        self._retry_at = self._login_deadline = self._after_end = None
        self._abandoned = False
        self._run(what.pid, now)
        self._fresh_link = True
        self._show(SessionState.CONNECTING, now)

    def _got(self, what: i.Got, now: i.Now) -> None:
        if not isinstance(what.event.body, Signal):
            return
        signal, at = what.event.body, what.event.at
        if not what.past and self._live_is_past:
            self._lose(self._end_reason, Action.RESTART, now)
        reason = classify(signal)
        if reason is not None:
            self._lost_by(signal, reason, at, now, past=what.past)
        elif signal.kind is SignalKind.CONNECTED:
            self._connected(at if signal.connected_at is None else signal.connected_at, at, now, past=what.past)
        elif signal.kind is SignalKind.KEEPALIVE_TIMEOUT and not what.past:
            self._doubt(i.Doubt(text="the engine's keep-alive was not answered"), now)

    def _connected(self, connected_at: float, at: float, now: i.Now, *, past: bool) -> None:
        memory = self.memory
        known = memory.live_at
        same = known is not None and (self._live_from_hello or abs(known - connected_at) < SAME_CONNECTION_S)
        if known is not None and not same:
            self._lose(
                self._end_reason if past else DisconnectReason.SILENT_RECONNECT, Action.REDIAL, now, at=connected_at
            )
        self._live(connected_at, now)
        self._live_is_past = past
        self._close_expected = False
        if not past:
            self._trouble = None
            self._fresh_link = False
            if self.phase is Phase.RUNNING:
                self._online(now, at)

    def _live(self, connected_at: float, now: i.Now) -> None:
        self.memory.live_at = connected_at
        self._live_since = now.at - max(0.0, now.wall - connected_at)
        self._live_from_hello = False

    def _online(self, now: i.Now, at: float) -> None:
        self._login_deadline = None
        if self.memory.state is not SessionState.ONLINE:
            self._show(SessionState.ONLINE, now)
            self._effects += [i.CloseRows(at=at), i.LoggedIn()]
        elif self._effects and isinstance(self._effects[-1], i.OpenRow):
            self._effects.append(i.CloseRows(at=at))

    def _doubt(self, what: i.Doubt, now: i.Now) -> None:
        if self.phase is Phase.RUNNING and self.memory.state is SessionState.ONLINE and self.greeted:
            self._show(SessionState.DEGRADED, now, what.text)
            self._probe()

    def _probe(self) -> None:
        if not self.probing and self.pid is not None:
            self.probing = True
            self._effects.append(i.ProbeWorker(pid=self.pid))

    def _probed(self, what: i.Probed, now: i.Now) -> None:
        if what.pid != self.pid or not self.probing:
            return
        self.probing = False
        if self.phase is not Phase.RUNNING or self.memory.state is not SessionState.DEGRADED:
            return
        if what.error is None and self.memory.live_at is not None:
            self._show(SessionState.ONLINE, now)
        else:
            self._fail(DisconnectReason.HALF_OPEN, now, detail=what.error or "")

    # ---- losses -----------------------------------------------------------------------------------------------------

    def _lost_by(self, signal: Signal, reason: DisconnectReason, at: float, now: i.Now, *, past: bool) -> None:
        kind = REASONS[reason].kind
        final = kind in FINAL_STATES or kind is ReasonClass.TEMPORARY_BAN
        if past and not final:
            self._lose(reason, Action.REDIAL, now, at=at, signal=signal)
            return
        if signal.kind is SignalKind.DISCONNECTED and self._close_expected:
            self._close_expected = False
            return
        self._close_expected = signal.kind in (SignalKind.STREAM_ERROR, SignalKind.CONNECT_FAILURE)
        hello_is_newer = self._live_from_hello and (signal.connected_at or 0.0) < (self.memory.live_at or 0.0)
        told_before = signal.connected_at is not None and (self.memory.live_at is None or hello_is_newer)
        if told_before:
            self._effects.append(
                i.RefineRow(reason=reason, signal=signal.kind.value, code=signal.code, raw=signal.raw)
            )
        if final or not told_before:
            self._fail(reason, now, detail=signal.raw, at=at, signal=signal)

    def _exited(self, what: i.Exited, now: i.Now) -> None:
        if self.phase is Phase.IDLE and what.pid != 0:
            return
        if self.pid is not None and what.pid not in (self.pid, 0):
            return
        asked = self.phase is Phase.ENDING
        decision, self._after_end = self._after_end, None
        self.phase, self.pid = Phase.IDLE, None
        self.greeted = self.probing = False
        self._hello_deadline = self._login_deadline = None
        if what.lost:
            self._end_reason = DisconnectReason.FORK_SERVER_LOST
        if asked or self._abandoned:
            self._abandoned = False
            self._lose(self._end_reason, decision.action if decision else Action.NEVER, now, at=what.at)
            self._settle(decision, now)
            return
        trouble = self._trouble
        if what.lost:
            reason, raw = DisconnectReason.FORK_SERVER_LOST, ""
        elif what.signal is not None:
            reason, raw = DisconnectReason.CRASH, f"signal {what.signal}"
        elif trouble is not None and self.memory.live_at is None:
            reason, raw = trouble, f"exit status {what.status}"
        else:
            reason = DisconnectReason.CRASH if what.status else DisconnectReason.ENGINE_ENDED
            raw = f"exit status {what.status}"
        self._end_reason = reason
        self._fail(reason, now, detail=raw, at=what.at, judged=reason is trouble)

    def _fail(
        self,
        reason: DisconnectReason,
        now: i.Now,
        *,
        detail: str,
        at: float | None = None,
        signal: Signal | None = None,
        judged: bool = False,
    ) -> None:
        """A connection or an attempt failed: let the policy judge, write it down, do what it says. `judged`: the same
        failure was charged already, when the engine reported it."""
        info = REASONS[reason]
        uptime = self._uptime(at)
        redialing = (
            info.kind in (ReasonClass.TRANSIENT, ReasonClass.EXPECTED)
            and self.phase is Phase.RUNNING
            and reason not in (DisconnectReason.LOGIN_TIMEOUT, DisconnectReason.ENGINE_ENDED)
            and (signal is None or signal.kind is not SignalKind.CONNECT_FAILURE)
        )
        expected = reason is DisconnectReason.RESTART_REQUIRED and self._fresh_link
        if expected:
            self._fresh_link = False
        failure = Failure(
            reason=reason,
            uptime_s=uptime,
            redialing=redialing,
            excused=judged or expected or (now.outage and info.outage),
            ban_s=None if signal is None else signal.expires_s,
        )
        decision = decide(failure, self.memory.history, self.reconnect, now.at, now.chance)
        self._lose(reason, decision.action, now, at=at, signal=signal, charged=decision.charged)
        self.memory.history = decision.history
        self._trouble = reason
        self._effects.append(i.Lost(reason=reason))
        self._effects.append(i.Alarm(severity=info.severity, reason=reason, text=detail))
        self._show(decision.state, now, _detail(info.text, signal, detail))
        if decision.action is Action.REDIAL:
            wait = self.keepalive.login_after_pairing_s if expected else self.keepalive.login_timeout_s
            self._login_deadline = self._login_deadline or now.at + wait
        elif self.phase in (Phase.RUNNING, Phase.ENDING):
            self._end(reason, decision)
        else:
            self._settle(decision, now)

    def _end(self, reason: DisconnectReason, decision: Decision | None) -> None:
        """Have the process ended; `decision` (None: stay stopped) takes effect when it is proven dead."""
        self._hello_deadline = self._login_deadline = None
        if self.phase is Phase.ENDING:
            if decision is not None and decision.action is Action.NEVER:
                self._after_end = decision
            return
        self.phase = Phase.ENDING
        self._end_reason = reason
        self._after_end = decision
        kind = REASONS[reason].kind
        hangs = kind is ReasonClass.DEGRADED or reason in (DisconnectReason.LOGIN_TIMEOUT, DisconnectReason.START_FAILED)
        if self.pid is not None:
            self._effects.append(i.EndWorker(pid=self.pid, gently=not hangs, dump=hangs))

    def _settle(self, decision: Decision | None, now: i.Now) -> None:
        """No process any more: go on as decided."""
        memory = self.memory
        if decision is None or not memory.wanted:
            if decision is not None:
                self._show(decision.state, now, memory.detail)
            self._rest(now)
            return
        memory.history = decision.history
        self._show(decision.state, now, memory.detail)
        if decision.action is Action.NEVER and decision.state is SessionState.BANNED:
            memory.not_before = now.wall + self.reconnect.repair_hold_s
        if decision.delay_s is None:
            return
        memory.retry_at = now.wall + decision.delay_s
        if decision.action is Action.SLEEP:
            memory.not_before = memory.retry_at
        if decision.delay_s == 0:
            self._ask()
        else:
            self._retry_at = now.at + decision.delay_s

    def _rest(self, now: i.Now) -> None:
        if self.memory.state not in RESTING:
            self._show(SessionState.STOPPED, now)

    def _lose(
        self,
        reason: DisconnectReason,
        action: Action,
        now: i.Now,
        *,
        at: float | None = None,
        signal: Signal | None = None,
        charged: bool = False,
    ) -> None:
        """If a connection lived, it is lost now: exactly one row of the ledger."""
        connected_at, self.memory.live_at = self.memory.live_at, None
        uptime = self._uptime_of(connected_at, at, now)
        self._live_is_past = self._live_from_hello = False
        if connected_at is None:
            return
        self._effects.append(
            i.OpenRow(
                at=now.wall if at is None else at,
                reason=reason,
                connected_at=connected_at,
                uptime_s=uptime,
                action=action,
                charged=charged,
                signal="" if signal is None else signal.kind.value,
                code=None if signal is None else signal.code,
                raw="" if signal is None else signal.raw,
            )
        )

    def _show(self, state: SessionState, now: i.Now, detail: str = "") -> None:
        memory = self.memory
        if memory.state is not state:
            memory.since = now.wall
        memory.state, memory.detail = state, detail
