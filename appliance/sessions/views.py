"""A session as people see it."""

from __future__ import annotations

import functools
from typing import Final

import msgspec

from appliance.model import ADVICE, SessionState, SessionView, mask_phone
from appliance.sessions.proxy import show_proxy
from appliance.sessions.registry import SessionRow
from appliance.sessions.runner import SessionRunner

_NOT_IN_USE: Final = frozenset(
    {
        SessionState.NEW,
        SessionState.NEEDS_PAIRING,
        SessionState.REPLACED,
        SessionState.BANNED,
        SessionState.FAILED,
        SessionState.STOPPED,
    }
)
"""Where no login works, that somebody is linking the session is what matters. A login that works, or is on its way to,
matters more than the one that may replace it."""


TEXTS_KEPT: Final = 512
"""Remedies as they are shown, each made once: of all sessions, in the few states that they go through."""
_TO_BE_LINKED: Final = frozenset({SessionState.NEW, SessionState.NEEDS_PAIRING})


class Shown(msgspec.Struct, frozen=True):
    """Queued or pairing, as the pairing room says, and since when."""

    state: SessionState
    since: float


class FailedLink(msgspec.Struct, frozen=True):
    """The latest attempt to link a session, if it failed: when, why, and what to do."""

    at: float
    reason: str
    remedy: str


def state_of(row: SessionRow, runner: SessionRunner | None, linking: Shown | None = None) -> SessionState:
    """As `view_of` shows it."""
    if linking is not None and row.memory.state in _NOT_IN_USE:
        return linking.state
    return SessionState.CONNECTING if _waits(row, runner) else row.memory.state


def _waits(row: SessionRow, runner: SessionRunner | None) -> bool:
    """Whether it should run and the fork server was not reached yet."""
    return runner is not None and not runner.booted and row.memory.linked and row.memory.wanted


def view_of(
    row: SessionRow,
    runner: SessionRunner | None,
    losses_today: int,
    linking: Shown | None = None,
    failed: FailedLink | None = None,
) -> SessionView:
    """What is known, in plain words. Before the fork server was reached, nothing is known of a session's process."""
    memory = row.memory
    process = None if runner is None else runner.process
    alive = process if process is not None and not process.gone.is_set() else None
    state, detail, since = memory.state, memory.detail, memory.since
    remedy = None
    if failed is not None and state in _TO_BE_LINKED and failed.at >= since:
        detail, remedy = f"The last attempt to link it failed: {failed.reason}", failed.remedy
    if _waits(row, runner):
        state, detail = SessionState.CONNECTING, "Waiting for the fork server."
    if linking is not None and state in _NOT_IN_USE:
        state, detail, since, remedy = linking.state, "", linking.since, None
    beat = None if runner is None or runner.evidence is None else runner.evidence.heartbeat
    return SessionView(
        id=row.id,
        name=row.name,
        state=state,
        meaning=ADVICE[state].meaning,
        remedy=remedy or _for(row.id, state),
        since=since,
        created_at=row.created_at,
        wanted=memory.wanted,
        generation=row.generation,
        node_id=row.node_id,
        phone=None if row.phone is None else mask_phone(row.phone),
        detail=detail,
        next_try_at=max(filter(None, (memory.retry_at, memory.not_before)), default=None),
        pid=None if alive is None else alive.pid,
        engine=None if alive is None or alive.hello is None else alive.hello.engine,
        build=None if alive is None or alive.hello is None else alive.hello.build,
        last_traffic_at=None if beat is None else beat.last_frame_at,
        phone_seen_at=memory.phone_seen_at,
        memory_bytes=None if beat is None else beat.pss_bytes,
        disconnections_today=losses_today,
        proxy=None if row.settings.proxy is None else show_proxy(row.settings.proxy) if row.settings.proxy else "none",
    )


def remedy_of(row: SessionRow) -> str:
    """What somebody should do about the session's present state."""
    return _for(row.id, row.memory.state)


@functools.lru_cache(TEXTS_KEPT)
def _for(session: str, state: SessionState) -> str:
    return ADVICE[state].remedy.replace(" ID", f" {session}")
