"""Faults on real processes: noticed, healed within their bounds, written down once, charged as the table says."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from appliance.model import SessionState
from appliance.protocol import Signal, SignalKind, WorkerExit
from tests.integration.sessions.conftest import WAIT_S, Bed, Daemon

K = SignalKind
S = SessionState


async def back(daemon: Daemon, session: str, old_pid: int | None) -> float:
    """Wait until the session is online in a new process; returns how long that took."""
    began = time.monotonic()

    async def holds() -> bool:
        view = await daemon.service.get(session)
        return view.state is S.ONLINE and view.pid != old_pid

    await daemon.until(holds)
    return time.monotonic() - began


async def test_a_half_open_connection_is_probed_once_and_replaced(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    await daemon.play("anna", answers=False)
    took = await back(daemon, "anna", view.pid)
    assert took < 15  # evidence 1 s, probe 0.5 s, dump 0.5 s, start
    assert len(bed.journal("anna", "probe")) == 1
    [row] = await daemon.rows("anna")
    assert (row["reason"], row["charged"]) == ("half_open", 0)
    assert S.DEGRADED in [seen.state for seen in daemon.views]


async def test_a_stopped_process_is_killed_and_replaced(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    assert view.pid is not None
    os.kill(view.pid, signal.SIGSTOP)
    assert await back(daemon, "anna", view.pid) < 15
    [row] = await daemon.rows("anna")
    assert row["reason"] in ("process_silent", "half_open")
    assert bed.journal("anna", "second-copy") == []


async def test_a_process_that_does_not_end_is_killed(bed: Bed) -> None:
    daemon = await bed.daemon()
    bed.script("anna", deaf=True)
    await daemon.link("anna")
    await daemon.service.stop("anna")
    view = await daemon.service.start("anna")
    view = await daemon.reaches("anna", S.ONLINE)
    began = time.monotonic()
    stopped = await daemon.service.stop("anna")
    assert stopped.state is S.STOPPED
    assert time.monotonic() - began < 15
    assert view.pid is not None


async def test_a_new_daemon_ends_what_the_last_one_had_given_up(bed: Bed) -> None:
    """The process lives on, silent, and its engine says that it is connected: that is no evidence any more."""
    daemon = await bed.daemon(AMDA_KEEPALIVE_STACK_DUMP_S=str(WAIT_S))
    view = await daemon.link("anna")
    await daemon.play("anna", answers=False)
    await daemon.reaches("anna", S.RECONNECTING)
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    assert (await daemon.reaches("anna", S.ONLINE)).pid != view.pid
    [row] = await daemon.rows("anna")
    assert (row["reason"], row["back_at"] is not None) == ("half_open", True)
    assert len(bed.journal("anna", "login")) == 2


async def test_memory_beyond_the_limit_restarts_the_process(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    await daemon.play("anna", pss=300 << 20)
    await back(daemon, "anna", view.pid)
    [row] = await daemon.rows("anna")
    assert row["reason"] == "memory"


async def test_the_engine_redials_in_the_same_process(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    await daemon.play("anna", signals=[Signal(kind=K.DISCONNECTED)], connect=True)
    await daemon.until(lambda: has_rows(daemon, "anna", 1))
    again = await daemon.reaches("anna", S.ONLINE)
    assert again.pid == view.pid
    [row] = await daemon.rows("anna")
    assert row["back_at"] is not None


async def test_a_login_that_never_comes_ends_the_process(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    began = time.monotonic()
    await daemon.play("anna", signals=[Signal(kind=K.DISCONNECTED)])
    await back(daemon, "anna", view.pid)
    assert 2.5 < time.monotonic() - began < 15
    assert len(await daemon.rows("anna")) == 1


async def test_replaced_is_never_retried_not_even_by_a_new_daemon(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    await daemon.play("anna", signals=[Signal(kind=K.STREAM_REPLACED, code=440)])
    view = await daemon.reaches("anna", S.REPLACED)
    assert "Another program" in view.detail
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    assert (await daemon.service.get("anna")).state is S.REPLACED
    assert len(bed.journal("anna", "login")) == 1
    await daemon.service.start("anna")
    await daemon.reaches("anna", S.ONLINE)


async def test_refused_logins_cool_down_after_five(bed: Bed) -> None:
    daemon = await bed.daemon(AMDA_RECONNECT_BACKOFF_CAP_S="0.2")
    await daemon.link("anna")
    bed.script("anna", connect=False, at_start=[Signal(kind=K.CONNECT_FAILURE, code=503)])
    await daemon.play("anna", signals=[Signal(kind=K.CONNECT_FAILURE, code=503)])
    await daemon.reaches("anna", S.COOLING)
    # the first loss was a connection that had not held: charged, and four refusals after it
    assert len(bed.journal("anna", "refused")) == 4
    rows = await daemon.rows("anna")
    assert len(rows) == 1
    assert rows[0]["charged"] == 1


async def test_crashes_end_in_failed(bed: Bed) -> None:
    daemon = await bed.daemon(AMDA_RECONNECT_BACKOFF_CAP_S="0.2")
    await daemon.link("anna")
    bed.script("anna", exit=1)
    await daemon.play("anna", exit=1)
    await daemon.reaches("anna", S.FAILED)
    assert len(bed.journal("anna", "start")) == 5  # the linked process and four more
    assert len(await daemon.rows("anna")) == 5


async def test_a_refused_engine_is_not_tried_for_ever(bed: Bed) -> None:
    daemon = await bed.daemon(AMDA_RECONNECT_BACKOFF_CAP_S="0.2")
    await daemon.link("anna")
    bed.script("anna", connect=False, exit=WorkerExit.ENGINE_REFUSED)
    await daemon.play("anna", exit=WorkerExit.ENGINE_REFUSED)
    view = await daemon.reaches("anna", S.FAILED)
    assert "library" in view.detail


async def test_the_fork_server_dies_and_everybody_is_back_uncharged(bed: Bed) -> None:
    daemon = await bed.daemon()
    names = ["anna", "berta", "clara"]
    pids = {name: (await daemon.link(name)).pid for name in names}
    await bed.kill_fork_server()
    await bed.start_fork_server()
    for name in names:
        await back(daemon, name, pids[name])
        rows = await daemon.rows(name)
        assert [(row["reason"], row["charged"]) for row in rows] == [("fork_server_lost", 0)]
        assert bed.journal(name, "second-copy") == []


async def test_the_fork_server_dies_while_the_daemon_is_away(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    await bed.stop_daemon(daemon)
    await bed.kill_fork_server()
    await bed.start_fork_server()
    daemon = await bed.daemon()
    await back(daemon, "anna", view.pid)
    assert len(await daemon.rows("anna")) == 1


async def test_without_a_fork_server_the_daemon_starts_and_says_so(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    await bed.stop_daemon(daemon)
    await bed.kill_fork_server()
    daemon = await bed.daemon()
    view = await daemon.service.get("anna")
    assert view.state is S.CONNECTING
    assert "fork server" in view.detail
    await bed.start_fork_server()
    await daemon.reaches("anna", S.ONLINE)


async def test_a_worker_dies_while_the_daemon_is_away(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    await bed.stop_daemon(daemon)
    assert view.pid is not None
    os.kill(view.pid, signal.SIGKILL)
    daemon = await bed.daemon()
    await back(daemon, "anna", view.pid)

    async def explained() -> bool:
        return [row["reason"] for row in await daemon.rows("anna")] == ["crash"]

    async with asyncio.timeout(5):
        while not await explained():  # noqa: ASYNC110 - the row is refined without a change that people see
            await asyncio.sleep(0.02)


async def test_losses_while_the_daemon_is_away_are_in_the_ledger_once(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    loss = Signal(kind=K.DISCONNECTED)
    await daemon.play("anna", signals=[loss], connect=True)
    await daemon.until(lambda: has_rows(daemon, "anna", 1))
    daemon.reject_events = 10**6
    for _ in range(3):
        await daemon.play("anna", signals=[loss], connect=True)
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    await daemon.until(lambda: has_rows(daemon, "anna", 4))
    await daemon.reaches("anna", S.ONLINE)
    assert len(bed.journal("anna", "lost")) == 4
    assert len(await daemon.rows("anna")) == 4


async def test_an_event_that_nobody_could_take_comes_again_and_only_then_counts(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    daemon.reject_events = 3
    await daemon.play("anna", signals=[Signal(kind=K.DISCONNECTED)], connect=True)
    await daemon.until(lambda: has_rows(daemon, "anna", 1))
    await daemon.reaches("anna", S.ONLINE)
    kinds = [event.body.kind for _, _, event in daemon.events if isinstance(event.body, Signal)]
    assert kinds.count(K.DISCONNECTED) == 1
    assert daemon.reject_events == 0


async def test_a_session_with_another_protocol_is_replaced(bed: Bed) -> None:
    daemon = await bed.daemon(AMDA_RECONNECT_BACKOFF_CAP_S="0.2")
    view = await daemon.link("anna")
    bed.script("anna", protocol=99)
    await daemon.service.stop("anna")
    await daemon.service.start("anna")
    await daemon.reaches("anna", S.RECONNECTING)
    bed.script("anna")
    await back(daemon, "anna", view.pid)


async def has_rows(daemon: Daemon, session: str, number: int) -> bool:
    """So many losses are written down, and all are over."""
    rows = await daemon.rows(session)
    return len(rows) >= number and all(row["back_at"] for row in rows)
