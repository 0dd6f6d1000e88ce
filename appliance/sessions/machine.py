"""The life of one session as a pure state machine: an input goes in, effects come out, nothing is done in here.

Two things are kept apart: the *phase* of its process (is there one, was it told to end?), which alone decides whether
another may be forked, and the *state* that people see, which is set by evidence. `online` is entered from a login that
the engine reported, a hello that says so, or an answered probe on such a connection; from nothing else.

A second copy cannot come from here: `SpawnWorker` is asked for in one place, from a phase that follows a proven death.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from appliance.model import SessionState
from appliance.protocol import EngineState, Signal, SignalKind
from appliance.sessions import inputs as i
from appliance.sessions.machine_core import MachineCore
from appliance.sessions.memory import RESTING, SAME_CONNECTION_S, Ending, Memory, Phase
from appliance.sessions.policy import Action, Decision, History, excuse, forgive, is_used_up
from appliance.sessions.reasons import FINAL_STATES, REASONS, DisconnectReason, classify, classify_exit
from appliance.sessions.settings import KeepaliveSettings, ReconnectSettings


class SessionMachine(MachineCore):
    """Feed it; carry out what it returns in that order; feed `Clock` at `wake_at`."""

    def __init__(self, memory: Memory, keepalive: KeepaliveSettings, reconnect: ReconnectSettings) -> None:
        super().__init__(memory, keepalive, reconnect)
        self._handlers: dict[type, Callable[[Any, i.Now], None]] = {
            i.Boot: self._boot,
            i.Start: self._start,
            i.Stop: self._stop,
            i.Restart: self._restart,
            i.Nudge: self._nudge,
            i.Excused: self._excused,
            i.Granted: self._granted,
            i.Spawned: self._spawned,
            i.SpawnFailed: self._spawn_failed,
            i.Greeted: self._greeted,
            i.Promoted: self._promoted,
            i.Got: self._got,
            i.Doubt: self._doubt,
            i.Probed: self._probed,
            i.Condemned: self._condemned,
            i.Exited: self._exited,
            i.Clock: self._clock,
        }

    @property
    def wake_at(self) -> float | None:
        """When `Clock` is due (steady clock); None if nothing is waited for."""
        deadlines = (self._hello_deadline, self._login_deadline, self._retry_at)
        return min((at for at in deadlines if at is not None), default=None)

    def refusal(self, wall: float) -> str | None:
        """Why a start is not possible now; None if it is."""
        if not self.memory.linked:
            return "It has to be linked first."
        if self.memory.not_before is not None and wall < self.memory.not_before:
            return "WhatsApp refuses it for a while; an attempt before that is over would prolong it."
        return None

    def feed(self, what: i.Input, now: i.Now) -> list[i.Effect]:
        """Take one input; returns the effects, to be carried out in order."""
        self._effects = []
        self._handlers[type(what)](what, now)
        self.memory.live_at, self.memory.past_at = self._live.at, self._past.at
        self.memory.live_from_hello = self._live.from_hello
        self.memory.ending = self._ending()
        return self._effects

    # ---- commands ---------------------------------------------------------------------------------------------------

    def _boot(self, what: i.Boot, now: i.Now) -> None:
        memory = self.memory
        if memory.live_at is not None:
            self._live.begin(memory.live_at, now, from_hello=memory.live_from_hello)
        if memory.past_at is not None:
            self._past.begin(memory.past_at, now)
        ending = memory.ending
        if what.pid is not None:
            self._run(what.pid, now)
            if ending is not None and ending.pid == what.pid:
                self._stand_down(ending.reason, ending.decision, now)
            elif not memory.wanted or memory.state in RESTING:
                self._stand_down(DisconnectReason.STOPPED, None, now)
        elif ending is not None:
            self._ended(ending.reason, ending.decision, now)
        elif self._live.at is not None:
            self._unexplained = True
            self._fail(DisconnectReason.FOUND_ENDED, now, detail="")
        elif not memory.wanted:
            self._rest(now)
        elif memory.state not in RESTING or memory.retry_at is not None:
            self._retry_at = now.at + max(0.0, (memory.retry_at or now.wall) - now.wall)

    def _start(self, _what: i.Start, now: i.Now) -> None:
        self.memory.wanted = True
        if self.refusal(now.wall) is not None:
            return
        if self.phase is Phase.IDLE:
            self.memory.history = forgive(self.memory.history)
            self._show(SessionState.CONNECTING, now)
            self._ask()
        elif self.phase is Phase.ENDING or self._abandoned:
            self._abandoned = False
            self._after_end = self._at_once()

    def _stop(self, _what: i.Stop, now: i.Now) -> None:
        self.memory.wanted = False
        self._stand_down(DisconnectReason.STOPPED, None, now)

    def _restart(self, what: i.Restart, now: i.Now) -> None:
        if self.phase is not Phase.RUNNING:
            self._start(i.Start(), now)
            return
        self.memory.wanted = True
        self._lose(what.reason, Action.RESTART, now)
        self._show(SessionState.CONNECTING, now)
        self._stand_down(what.reason, self._at_once(), now)

    def _nudge(self, _what: i.Nudge, now: i.Now) -> None:
        waits = self._retry_at is not None or self.memory.state is SessionState.OUTDATED
        if self.phase is Phase.IDLE and self.memory.wanted and waits and self.refusal(now.wall) is None:
            self._ask()

    def _excused(self, what: i.Excused, now: i.Now) -> None:
        memory = self.memory
        history = excuse(memory.history, what.window_s, now.at)
        if history is memory.history:
            return
        memory.history = history
        if memory.state is SessionState.COOLING and not is_used_up(history, self.reconnect):
            memory.history = msgspec.structs.replace(history, coolings=max(0, history.coolings - 1))
            self._show(SessionState.RECONNECTING, now, memory.detail)
            decision = Decision(
                action=Action.RESTART,
                state=SessionState.RECONNECTING,
                history=memory.history,
                delay_s=now.chance * self.reconnect.backoff_base_s,
            )
            if self.phase is Phase.ENDING:
                self._after_end = decision
            elif self.phase is Phase.IDLE:
                self._settle(decision, now)

    def _ending(self) -> Ending | None:
        if self.phase is not Phase.ENDING or self.pid is None:
            return None
        return Ending(pid=self.pid, reason=self._end_reason, decision=self._after_end)

    def _at_once(self) -> Decision:
        history = forgive(self.memory.history)
        return Decision(action=Action.RESTART, state=SessionState.CONNECTING, history=history, delay_s=0.0)

    # ---- the course of a process ------------------------------------------------------------------------------------

    def _granted(self, _what: i.Granted, _now: i.Now) -> None:
        if self.phase is Phase.QUEUED:
            self.phase = Phase.SPAWNING
            self._effects.append(i.SpawnWorker())

    def _spawned(self, what: i.Spawned, now: i.Now) -> None:
        if self.phase is not Phase.SPAWNING:
            return
        decision, abandoned = self._after_end, self._abandoned
        self._run(what.pid, now)
        if abandoned:
            self._stand_down(DisconnectReason.STOPPED, decision, now)

    def _spawn_failed(self, what: i.SpawnFailed, now: i.Now) -> None:
        if self.phase is not Phase.SPAWNING:
            return
        self.phase = Phase.IDLE
        if self._abandoned:
            self._abandoned = False
            self._settle(self._after_end, now)
            return
        reason = DisconnectReason.FORK_SERVER_LOST if what.lost else DisconnectReason.START_FAILED
        if what.proxy:
            reason = DisconnectReason.PROXY_UNUSABLE
        self._fail(reason, now, detail=what.error)

    def _run(self, pid: int, now: i.Now) -> None:
        self.phase, self.pid = Phase.RUNNING, pid
        self.greeted = self.probing = self._close_expected = self._abandoned = False
        self._trouble = self._after_end = self._retry_at = self._login_deadline = None
        self._hello_deadline = now.at + self.keepalive.hello_timeout_s

    def _clock(self, _what: i.Clock, now: i.Now) -> None:
        if self._hello_deadline is not None and now.at >= self._hello_deadline:
            self._hello_deadline = None
            self._fail(DisconnectReason.START_FAILED, now, detail="its process did not introduce itself")
        elif self._login_deadline is not None and now.at >= self._login_deadline:
            self._login_deadline = None
            self._fail(DisconnectReason.LOGIN_TIMEOUT, now, detail="")
        elif self._retry_at is not None and now.at >= self._retry_at:
            if self.memory.state is not SessionState.RECONNECTING:
                self._show(SessionState.CONNECTING, now)
            self._ask()

    def _exited(self, what: i.Exited, now: i.Now) -> None:
        if self._unexplained and self.phase not in (Phase.RUNNING, Phase.ENDING):
            self._unexplained = False
            reason, raw = classify_exit(what.status, what.signal, out_of_memory=what.out_of_memory)
            self._effects.append(i.RefineRow(reason=reason, signal="", code=None, raw=raw))
        if what.pid != self.pid or self.phase not in (Phase.RUNNING, Phase.ENDING):
            return
        asked, decision, trouble = self.phase is Phase.ENDING, self._after_end, self._trouble
        self.phase, self.pid, self._after_end, self._trouble = Phase.IDLE, None, None, None
        self.greeted = self.probing = False
        self._hello_deadline = self._login_deadline = None
        if asked:
            self._ended(self._end_reason, decision, now, at=what.at)
            return
        reason, raw = classify_exit(what.status, what.signal, out_of_memory=what.out_of_memory)
        if what.lost:
            reason, raw = DisconnectReason.FORK_SERVER_LOST, ""
        judged = reason is DisconnectReason.ENGINE_ENDED and trouble is not None and self._live.at is None
        self._end_reason = reason
        self._fail(trouble if judged and trouble else reason, now, detail=raw, at=what.at, judged=judged)

    # ---- evidence ---------------------------------------------------------------------------------------------------

    def _greeted(self, what: i.Greeted, now: i.Now) -> None:
        if what.pid != self.pid or self.phase is not Phase.RUNNING:
            return
        first, self.greeted, self._hello_deadline = not self.greeted, True, None
        if what.engine_state is EngineState.CONNECTED:
            if self._live.at is None:
                self._live.begin(what.connected_at or now.wall, now, from_hello=True)
            if self.memory.state is not SessionState.DEGRADED:
                self._online(now, now.wall)
            elif not self.probing:  # whoever had asked is gone: a daemon that was restarted meanwhile
                self._probe(what.pid)
        elif first:
            if self.memory.state not in (SessionState.RECONNECTING, SessionState.CONNECTING):
                self._show(SessionState.CONNECTING, now)
            wait = self.keepalive.login_after_pairing_s if self._fresh_link else self.keepalive.login_timeout_s
            self._login_deadline = now.at + wait

    def _promoted(self, what: i.Promoted, now: i.Now) -> None:
        """A linking attempt succeeded: its process becomes the session's, with a clean record."""
        if self.phase is Phase.QUEUED:
            self._effects.append(i.CancelStart())
        self._lose(DisconnectReason.SUPERSEDED, Action.NEVER, now)
        memory = self.memory
        memory.wanted = memory.linked = True
        memory.history = History()
        memory.phone_seen_at = now.wall
        memory.retry_at = memory.not_before = None
        self._run(what.pid, now)
        self._fresh_link = True
        self._show(SessionState.CONNECTING, now)
        if what.engine_state is EngineState.CONNECTED:  # as its event says: a moment after the login
            self._live.begin(what.connected_at or now.wall, now)
        self._greeted(
            i.Greeted(pid=what.pid, engine_state=what.engine_state, connected_at=what.connected_at),
            now,
        )

    def _got(self, what: i.Got, now: i.Now) -> None:
        signal, at = what.event.body, what.event.at
        if not isinstance(signal, Signal):
            return
        reason = classify(signal)
        if what.past or what.pid != self.pid:
            self._got_past(signal, reason, at, now)
            return
        self._lose(self._end_reason, Action.RESTART, now, live=self._past)
        if reason is not None:
            self._lost_by(signal, reason, at, now)
        elif signal.kind is SignalKind.CONNECTED:
            self._connected(at, now)
        elif signal.kind is SignalKind.KEEPALIVE_TIMEOUT:
            self._doubt(i.Doubt(pid=what.pid, text="the engine's keep-alive was not answered"), now)

    def _got_past(self, signal: Signal, reason: DisconnectReason | None, at: float, now: i.Now) -> None:
        """What a process recorded before it died: it counts for the ledger. Only what is still true, such as a removed
        device, counts for what happens next."""
        if reason is None:
            if signal.kind is SignalKind.CONNECTED:
                self._lose(self._end_reason, Action.RESTART, now, live=self._past)
                if not self._is_written_down(at):
                    self._past.begin(at, now)
            return
        if self._past.at is None and signal.connected_at is not None:
            self._refine(signal, reason)
        self._lose(reason, Action.RESTART, now, at=at, signal=signal, live=self._past)
        if _is_final(reason):
            self._fail(reason, now, detail="", at=at, signal=signal)

    def _is_written_down(self, connected_at: float) -> bool:
        """Whether a login that an event tells of late is the one that a hello had told of, and that has its row."""
        told_at, self.memory.told_at = self.memory.told_at, None
        if told_at is not None and abs(connected_at - told_at) < SAME_CONNECTION_S:
            return True
        self.memory.told_at = told_at
        return False

    def _connected(self, connected_at: float, now: i.Now) -> None:
        if self.phase is Phase.ENDING and self._live.at is None and self._is_written_down(connected_at):
            return
        replaced = self._live.at is not None and not self._live.is_same(connected_at)
        if replaced:
            self._lose(DisconnectReason.SILENT_RECONNECT, Action.REDIAL, now, at=connected_at)
        self._live.begin(connected_at, now)
        self._close_expected = False
        self._trouble = None
        if self.phase is Phase.RUNNING:
            self._online(now, connected_at, again=replaced)

    def _online(self, now: i.Now, at: float, *, again: bool = False) -> None:
        self._login_deadline = None
        self._fresh_link = False
        if again or self.memory.state is not SessionState.ONLINE:
            self._show(SessionState.ONLINE, now)
            self._effects += [i.CloseRows(at=at), i.LoggedIn()]

    def _doubt(self, what: i.Doubt, now: i.Now) -> None:
        running = self.phase is Phase.RUNNING and self.greeted and what.pid == self.pid
        if running and self.memory.state is SessionState.ONLINE and not self.probing:
            self._show(SessionState.DEGRADED, now, what.text)
            self._probe(what.pid)

    def _probe(self, pid: int) -> None:
        self.probing = True
        self._effects.append(i.ProbeWorker(pid=pid))

    def _probed(self, what: i.Probed, now: i.Now) -> None:
        if what.pid != self.pid or not self.probing:
            return
        self.probing = False
        if self.phase is not Phase.RUNNING or self.memory.state is not SessionState.DEGRADED:
            return
        if what.error is None and self._live.at is not None:
            self._show(SessionState.ONLINE, now)
        else:
            self._fail(DisconnectReason.HALF_OPEN, now, detail=what.error or "")

    def _condemned(self, what: i.Condemned, now: i.Now) -> None:
        if self.phase is Phase.RUNNING and what.pid == self.pid:
            self._fail(what.reason, now, detail=what.text)

    def _lost_by(self, signal: Signal, reason: DisconnectReason, at: float, now: i.Now) -> None:
        told = self._live.was_told(signal)
        if told and signal.connected_at is not None:
            self._refine(signal, reason)
        if not _is_final(reason) and self.phase is not Phase.RUNNING:
            self._lose(reason, Action.NEVER, now, at=at, signal=signal)
            return
        if signal.kind is SignalKind.DISCONNECTED and self._close_expected:
            self._close_expected = False
            return
        if _is_final(reason) or not told:
            self._close_expected = signal.kind in (SignalKind.STREAM_ERROR, SignalKind.CONNECT_FAILURE)
            judged = reason is DisconnectReason.ENGINE_ENDED and self._trouble is not None and self._live.at is None
            self._fail(reason, now, detail="", at=at, signal=signal, judged=judged)

    def _refine(self, signal: Signal, reason: DisconnectReason) -> None:
        if signal.kind is not SignalKind.DISCONNECTED:  # which says less than whatever was known
            self._effects.append(i.RefineRow(reason=reason, signal=signal.kind.value, code=signal.code, raw=signal.raw))


def _is_final(reason: DisconnectReason) -> bool:
    """Whether it stays true however often one tries."""
    return REASONS[reason].kind in FINAL_STATES or reason is DisconnectReason.TEMPORARY_BAN
