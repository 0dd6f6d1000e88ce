"""A daemon of this release on a fork server and workers of the one before; then everything moves, one by one."""

from __future__ import annotations

import asyncio

import pytest

from appliance.forkserver.client import ForkServerGoneError
from appliance.model import SessionState
from appliance.problems import ProblemError
from appliance.protocol import PROTOCOL_VERSION
from tests.integration.sessions.conftest import WAIT_S, Bed, Daemon

BEFORE = str(PROTOCOL_VERSION - 1)
NAMES = ("anna", "berta")


async def begin_with(bed: Bed, protocol: str) -> None:
    """Instead of the fork server that runs: one that speaks another version."""
    await bed.kill_fork_server()
    await bed.start_fork_server(AMDA_TEST_PROTOCOL=protocol)


async def test_workers_of_the_release_before_are_adopted_and_moved_one_by_one(bed: Bed) -> None:
    await begin_with(bed, BEFORE)
    for name in NAMES:
        bed.script(name, protocol=int(BEFORE))
    daemon = await bed.daemon()
    pids = {name: (await daemon.link(name)).pid for name in NAMES}
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    for name in NAMES:
        await introduced(daemon, name)
        view = await daemon.reaches(name, SessionState.ONLINE)
        assert (view.pid, view.build) == (pids[name], "1.0")
        assert len(bed.journal(name, "login")) == 1, "a daemon of another protocol version disconnects nobody"

    hello = await daemon.fork.exec_in_place(bed.release("2.0"))
    assert (hello.protocol, hello.build) == (PROTOCOL_VERSION, "2.0")
    await daemon.accounted_for("2.0")
    assert {(await daemon.service.get(name)).pid for name in NAMES} == set(pids.values()), "nobody has moved yet"

    bed.script("anna")
    await daemon.service.move("anna")
    view = await daemon.reaches("anna", SessionState.ONLINE)
    assert (view.build, view.disconnections_today) == ("2.0", 1)
    [row] = await daemon.rows("anna")
    assert (row["reason"], row["charged"], row["back_at"] is not None) == ("moved", 0, True)
    assert await daemon.rows("berta") == []
    again = await daemon.service.move("anna")
    assert (again.pid, len(bed.journal("anna", "login"))) == (view.pid, 2), "it is there already"


async def introduced(daemon: Daemon, session: str) -> None:
    """Until its adopted process has said of which build it is; that it was online is remembered before."""
    async with asyncio.timeout(WAIT_S):
        while (await daemon.service.get(session)).build is None:  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0.01)


async def test_a_fork_server_from_the_future_is_not_used(bed: Bed) -> None:
    await begin_with(bed, str(PROTOCOL_VERSION + 1))
    daemon = await bed.daemon()
    with pytest.raises(ForkServerGoneError):
        await daemon.fork.wait_connected(0.5)
    await daemon.service.create("anna", "Anna")
    with pytest.raises(ProblemError) as refused:
        await daemon.service.move("anna")
    assert refused.value.problem.status == 503


async def test_what_does_not_run_is_not_moved(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    await daemon.service.stop("anna")
    await daemon.fork.exec_in_place(bed.release("2.0"))
    await daemon.accounted_for("2.0")
    assert (await daemon.service.move("anna")).state is SessionState.STOPPED
    assert len(bed.journal("anna", "start")) == 1
