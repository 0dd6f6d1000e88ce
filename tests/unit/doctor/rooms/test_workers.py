"""The fork server's processes against the daemon's sessions: strangers, two on one login, one that is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.doctor.rooms.workers import check, judge
from appliance.model import ADVICE, SessionState, SessionView
from appliance.model_doctor import Severity
from appliance.protocol import WorkerProcess
from tests.doctor_patient import make_patient, severities


def session(name: str, state: SessionState = SessionState.ONLINE, pid: int | None = None) -> SessionView:
    advice = ADVICE[state]
    return SessionView(
        id=name,
        name=name,
        state=state,
        meaning=advice.meaning,
        remedy=advice.remedy,
        since=1.0,
        created_at=1.0,
        wanted=True,
        generation=1,
        node_id="node",
        pid=pid,
    )


def worker(name: str, pid: int, store: str = "store") -> WorkerProcess:
    return WorkerProcess(session=name, pid=pid, generation=1, store_folder=f"/s/{name}/{store}", started_at=1.0)


def test_well() -> None:
    views = [session("awa", pid=11), session("moussa", SessionState.STOPPED), session("fatou", SessionState.PAIRING)]
    running = [worker("awa", 11), worker("fatou", 12, "attempt")]
    assert severities(judge(running, views, views)) == [Severity.OK]


def test_a_stranger() -> None:
    (seen,) = judge([worker("ghost", 13)], [], [])
    assert seen.severity is Severity.WARNING
    assert "there is no such session" in seen.found


def test_one_that_was_made_or_removed_meanwhile_is_none() -> None:
    views = [session("awa", pid=11)]
    assert severities(judge([worker("awa", 11)], [], views)) == [Severity.OK]
    assert severities(judge([worker("awa", 11)], views, [])) == [Severity.OK]


def test_two_on_one_login() -> None:
    views = [session("awa", pid=11)]
    (seen,) = judge([worker("awa", 11), worker("awa", 12)], views, views)
    assert seen.severity is Severity.PROBLEM
    assert "two processes use one login: 11, 12" in seen.found


def test_a_relink_beside_the_login_is_none() -> None:
    views = [session("awa", pid=11)]
    assert severities(judge([worker("awa", 11), worker("awa", 12, "attempt")], views, views)) == [Severity.OK]


def test_one_that_is_gone() -> None:
    views = [session("awa", pid=11)]
    (seen,) = judge([], views, views)
    assert seen.severity is Severity.PROBLEM
    assert seen.remedy == "amda session restart awa"
    after = [session("awa", SessionState.RECONNECTING, pid=None)]
    assert severities(judge([], views, after)) == [Severity.OK], "the daemon has noticed meanwhile"


@pytest.mark.parametrize("away", [True, False])
async def test_the_check_asks_both(tmp_path: Path, away: bool) -> None:
    async def forked() -> list[WorkerProcess]:
        if away:
            raise RuntimeError("no connection")
        return [worker("awa", 11)]

    async def sessions() -> list[SessionView]:
        return [session("awa", pid=11)]

    (seen,) = await check(forked, sessions).look(make_patient(tmp_path))
    assert seen.severity is (Severity.PROBLEM if away else Severity.OK)
