"""A session as people see it."""

from __future__ import annotations

from appliance.model import ADVICE, SessionState, SessionView, mask_phone
from appliance.sessions.proxy import show_proxy
from appliance.sessions.registry import SessionRow
from appliance.sessions.runner import SessionRunner


def view_of(row: SessionRow, runner: SessionRunner | None, losses_today: int) -> SessionView:
    """What is known, in plain words. Before the fork server was reached, nothing is known of a session's process."""
    memory = row.memory
    process = None if runner is None else runner.process
    alive = process if process is not None and not process.gone.is_set() else None
    state, detail = memory.state, memory.detail
    if runner is not None and not runner.booted and memory.linked and memory.wanted:
        state, detail = SessionState.CONNECTING, "Waiting for the fork server."
    beat = None if runner is None or runner.evidence is None else runner.evidence.heartbeat
    return SessionView(
        id=row.id,
        name=row.name,
        state=state,
        meaning=ADVICE[state].meaning,
        remedy=_for(row.id, state),
        since=memory.since,
        created_at=row.created_at,
        wanted=memory.wanted,
        generation=row.generation,
        node_id=row.node_id,
        phone=None if row.phone is None else mask_phone(row.phone),
        detail=detail,
        pid=None if alive is None else alive.pid,
        engine=None if alive is None or alive.hello is None else alive.hello.engine,
        last_traffic_at=None if beat is None else beat.last_frame_at,
        memory_bytes=None if beat is None else beat.pss_bytes,
        disconnections_today=losses_today,
        proxy=None if row.settings.proxy is None else show_proxy(row.settings.proxy) if row.settings.proxy else "none",
    )


def remedy_of(row: SessionRow) -> str:
    """What somebody should do about the session's present state."""
    return _for(row.id, row.memory.state)


def _for(session: str, state: SessionState) -> str:
    return ADVICE[state].remedy.replace(" ID", f" {session}")
