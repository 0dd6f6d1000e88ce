"""The part of a session's state machine that judges failures, writes them down and ends processes.

`machine.SessionMachine` adds what it can be fed with.
"""

from __future__ import annotations

from typing import Final

from appliance.model import SessionState
from appliance.protocol import Signal, SignalKind
from appliance.sessions import inputs as i
from appliance.sessions.memory import RESTING, LiveConnection, Memory, Phase, is_of
from appliance.sessions.policy import Action, Decision, Failure, decide
from appliance.sessions.reasons import REASONS, DisconnectReason, ReasonClass
from appliance.sessions.settings import KeepaliveSettings, ReconnectSettings

_HANGING: Final = frozenset({DisconnectReason.LOGIN_TIMEOUT, DisconnectReason.START_FAILED})
"""Besides the degraded ones: reasons after which a process cannot be trusted to end in order."""
_NO_REDIAL: Final = frozenset(
    {DisconnectReason.LOGIN_TIMEOUT, DisconnectReason.ENGINE_ENDED, DisconnectReason.DIAL_FAILED}
)
"""Transient, but the engine of this process does nothing about it any more: it never repeats a first dial."""
RAW_SHOWN: Final = 200
"""Characters of WhatsApp's own text in a session's explanation; the ledger keeps all of it."""


class MachineCore:
    """State and the moves that several inputs share. Every method only changes fields and appends effects."""

    def __init__(self, memory: Memory, keepalive: KeepaliveSettings, reconnect: ReconnectSettings) -> None:
        self.memory = memory
        self.keepalive = keepalive
        self.reconnect = reconnect
        self.phase = Phase.IDLE
        self.pid: int | None = None
        self.greeted = False
        self.probing = False
        self._effects: list[i.Effect] = []
        self._live = LiveConnection()
        self._past = LiveConnection()
        """One of a process that has ended, learnt of afterwards; what ended it is not known yet."""
        self._hello_deadline: float | None = None
        self._login_deadline: float | None = None
        self._retry_at: float | None = None
        self._after_end: Decision | None = None
        self._end_reason = DisconnectReason.CRASH
        self._trouble: DisconnectReason | None = None
        """What was judged since the last login, in this process."""
        self._close_expected = False
        self._fresh_link = False
        self._unexplained = False
        """The process ended while the daemon was away; the fork server may still tell how."""
        self._abandoned = False
        """The process is unwanted before it exists: it is ended as soon as its number is known."""

    def _ask(self) -> None:
        self._retry_at = self.memory.retry_at = self.memory.not_before = None
        self.phase = Phase.QUEUED
        self._effects.append(i.AskStart())

    def _stand_down(self, reason: DisconnectReason, decision: Decision | None, now: i.Now) -> None:
        """Have no process any more; `decision` (None: rest) takes effect when there is none."""
        self._hello_deadline = self._login_deadline = self._retry_at = None
        match self.phase:
            case Phase.IDLE:
                self._settle(decision, now)
            case Phase.QUEUED:
                self._effects.append(i.CancelStart())
                self.phase = Phase.IDLE
                self._settle(decision, now)
            case Phase.SPAWNING:
                self._abandoned, self._after_end = True, decision
            case Phase.RUNNING:
                self._lose(reason, decision.action if decision else Action.NEVER, now)
                self.phase, self._end_reason, self._after_end = Phase.ENDING, reason, decision
                hangs = REASONS[reason].kind is ReasonClass.DEGRADED or reason in _HANGING
                if self.pid is not None:
                    self._effects.append(i.EndWorker(pid=self.pid, gently=not hangs, dump=hangs))
            case Phase.ENDING:
                self._after_end = decision

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
        redials = info.kind in (ReasonClass.TRANSIENT, ReasonClass.EXPECTED) and reason not in _NO_REDIAL
        if signal is not None and signal.kind is SignalKind.CONNECT_FAILURE:
            redials = False
        expected = reason is DisconnectReason.RESTART_REQUIRED and self._fresh_link
        failure = Failure(
            reason=reason,
            uptime_s=self._live.uptime(now, at),
            redialing=redials and self.phase is Phase.RUNNING,
            excused=judged or expected or (now.outage and info.outage),
            ban_s=None if signal is None else signal.expires_s,
        )
        decision = decide(failure, self.memory.history, self.reconnect, now.at, now.chance)
        self._lose(reason, decision.action, now, at=at, signal=signal, charged=decision.charged)
        self._trouble = reason
        self._remember(decision, now)
        self._effects.append(i.Lost(reason=reason))
        self._effects.append(i.Alarm(severity=info.severity, reason=reason, text=detail))
        self._show(decision.state, now, _describe(info.text, signal, detail))
        if decision.action is Action.REDIAL:
            wait = self.keepalive.login_after_pairing_s if self._fresh_link else self.keepalive.login_timeout_s
            self._login_deadline = self._login_deadline or now.at + wait
            self._fresh_link = False
        else:
            self._stand_down(reason, decision, now)

    def _remember(self, decision: Decision, now: i.Now) -> None:
        memory = self.memory
        memory.history = decision.history
        if decision.action is Action.SLEEP and decision.delay_s is not None:
            memory.not_before = now.wall + decision.delay_s
        if decision.state in (SessionState.NEEDS_PAIRING, SessionState.BANNED) and decision.action is Action.NEVER:
            memory.linked = False  # the engine has deleted the credentials
            if decision.state is SessionState.BANNED:
                memory.not_before = now.wall + self.reconnect.repair_hold_s

    def _ended(
        self, reason: DisconnectReason, decision: Decision | None, now: i.Now, *, at: float | None = None
    ) -> None:
        """The process that was told to end has ended: what was decided takes effect."""
        self._lose(reason, decision.action if decision else Action.NEVER, now, at=at)
        self._settle(decision, now)

    def _settle(self, decision: Decision | None, now: i.Now) -> None:
        """No process any more: go on as decided."""
        memory = self.memory
        memory.retry_at = None
        if decision is None or not memory.wanted:
            self._rest(now)
            return
        if memory.state in (SessionState.ONLINE, SessionState.DEGRADED):  # it was stopped, and wanted again meanwhile
            self._show(decision.state, now)
        if decision.delay_s == 0:
            memory.history = decision.history
            self._ask()
        elif decision.delay_s is not None:
            memory.retry_at = now.wall + decision.delay_s
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
        live: LiveConnection | None = None,
    ) -> None:
        """If a connection lived, it is lost now: exactly one row of the ledger."""
        ended = (live or self._live).end(now, at)
        if ended is None:
            return
        if ended.from_hello and not (signal is not None and is_of(signal, ended.connected_at)):
            self.memory.told_at = ended.connected_at  # a signal of this very login came after the one that told of it
        self._effects.append(
            i.OpenRow(
                at=now.wall if at is None else at,
                reason=reason,
                connected_at=ended.connected_at,
                uptime_s=ended.uptime_s,
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


def _describe(text: str, signal: Signal | None, detail: str) -> str:
    """What is particular to a failure: the reason's sentence and WhatsApp's code."""
    if signal is None:
        return f"{text} {detail}".strip()
    code = "" if signal.code is None else f" Code {signal.code}."
    return f"{text}{code} {signal.raw[:RAW_SHOWN]}".strip()
