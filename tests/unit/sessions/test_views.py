"""What is shown of a session while somebody links it."""

from __future__ import annotations

import pytest

from appliance.model import ADVICE, SessionState
from appliance.sessions.memory import Memory
from appliance.sessions.registry import SessionRow, SessionSettings
from appliance.sessions.views import Shown, view_of


def _row(state: SessionState) -> SessionRow:
    return SessionRow(
        id="anna",
        name="anna",
        node_id="node",
        generation=1,
        store=None,
        phone=None,
        jid=None,
        created_at=1.0,
        settings=SessionSettings(),
        memory=Memory(state=state, since=10.0, detail="as it was"),
    )


@pytest.mark.parametrize("linking", [SessionState.QUEUED, SessionState.PAIRING])
@pytest.mark.parametrize("state", [SessionState.NEW, SessionState.NEEDS_PAIRING, SessionState.STOPPED])
def test_linking_is_what_matters_where_no_login_works(state: SessionState, linking: SessionState) -> None:
    view = view_of(_row(state), None, 0, Shown(linking, 20.0))
    assert (view.state, view.since, view.detail) == (linking, 20.0, "")
    assert view.meaning == ADVICE[linking].meaning


@pytest.mark.parametrize("state", [SessionState.ONLINE, SessionState.RECONNECTING, SessionState.OUTDATED])
def test_a_login_that_works_or_is_on_its_way_matters_more(state: SessionState) -> None:
    view = view_of(_row(state), None, 0, Shown(SessionState.PAIRING, 20.0))
    assert (view.state, view.since, view.detail) == (state, 10.0, "as it was")


@pytest.mark.parametrize(("retry", "ban", "shown"), [(None, None, None), (30.0, None, 30.0), (30.0, 90.0, 90.0)])
def test_when_it_goes_on_by_itself(retry: float | None, ban: float | None, shown: float | None) -> None:
    row = _row(SessionState.COOLING)
    row.memory.retry_at, row.memory.not_before = retry, ban
    assert view_of(row, None, 0).next_try_at == shown
