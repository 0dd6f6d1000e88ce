"""What the worker tells when the connection is lost, refused, silent or hanging: codes and times, not words."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from appliance.protocol import (
    DumpStacks,
    EngineState,
    Logout,
    Probe,
    Promote,
    Signal,
    SignalKind,
    WorkerExit,
    WorkerMode,
    WorkerSpec,
)
from appliance.staging.client import StagingClient
from appliance.staging.control_types import FaultKind, JournalKind, Send, SendKind, SetFault, Where
from appliance.worker.engine.lazy import wheel_library
from tests.integration.worker.conftest import WorkerProcess

pytestmark = [pytest.mark.staging, pytest.mark.asyncio(loop_scope="module")]

Start = Callable[..., object]
Spec = Callable[..., WorkerSpec]
ALICE = "491700000002"


async def test_closed_connection_is_told_with_its_age_and_comes_back(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    login_at = next(e.at for e in linked.events if isinstance(e.body, Signal) and e.body.kind is SignalKind.CONNECTED)
    await staging.set_fault(SetFault(kind=FaultKind.RESET, account=phone))
    lost = await linked.signal(SignalKind.DISCONNECTED)
    assert lost.connected_at is not None
    assert abs(lost.connected_at - login_at) < 5
    again = await linked.signal(SignalKind.CONNECTED, after=1)
    assert again.connected_at is None


async def test_a_login_that_is_lost_before_it_was_confirmed_is_no_connection(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    """The engine asks one more question after the login, gives up on it after the loss, and says "connected" then."""
    silent = await staging.set_fault(SetFault(kind=FaultKind.SILENT_IQ, account=phone, text="passive"))
    before = await staging.last()
    await staging.set_fault(SetFault(kind=FaultKind.RESET, account=phone))
    await staging.wait_for(JournalKind.LOGIN, account=phone, after=before)
    gone = await staging.set_fault(SetFault(kind=FaultKind.DOWN, account=phone))
    log = linked.folder / "worker.log"
    async with asyncio.timeout(30):
        while "a login that was not confirmed is no connection" not in log.read_text():
            beats = len(linked.beats)
            await linked.until(lambda seen=beats: len(linked.beats) > seen)  # type: ignore[misc]
    assert linked.beats[-1].engine_state is not EngineState.CONNECTED
    assert sum(body.kind is SignalKind.CONNECTED for body in linked.bodies(Signal)) == 1
    await staging.clear_faults(silent.id)
    await staging.clear_faults(gone.id)
    await linked.signal(SignalKind.CONNECTED, 60, after=1)


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (SetFault(kind=FaultKind.STREAM_ERROR, text="replaced"), SignalKind.STREAM_REPLACED, 440),
        (SetFault(kind=FaultKind.STREAM_ERROR, text="device_removed"), SignalKind.LOGGED_OUT, 401),
        (SetFault(kind=FaultKind.STREAM_ERROR, code=503), SignalKind.DISCONNECTED, 503),
        (SetFault(kind=FaultKind.STREAM_ERROR, code=500), SignalKind.STREAM_ERROR, 500),
    ],
    ids=["replaced", "device_removed", "503", "500"],
)
async def test_stream_errors(
    staging: StagingClient, linked: WorkerProcess, phone: str, fault: SetFault, kind: SignalKind, code: int
) -> None:
    await staging.set_fault(msgspec.structs.replace(fault, account=phone))
    told = await linked.signal(kind)
    assert told.code == code
    assert told.connected_at is not None
    assert told.raw.startswith("<stream:error")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, SignalKind.LOGGED_OUT),
        (402, SignalKind.TEMPORARY_BAN),
        (403, SignalKind.LOGGED_OUT),
        (405, SignalKind.CLIENT_OUTDATED),
        (406, SignalKind.LOGGED_OUT),
        (409, SignalKind.CONNECT_FAILURE),
        (418, SignalKind.CONNECT_FAILURE),
    ],
)
async def test_refused_logins(
    staging: StagingClient,
    linked: WorkerProcess,
    phone: str,
    make_spec: Spec,
    start_worker: Start,
    code: int,
    kind: SignalKind,
) -> None:
    await linked.stop()
    fault = await staging.set_fault(SetFault(kind=FaultKind.FAILURE, account=phone, code=code, expire_s=3600))
    try:
        worker: WorkerProcess = await start_worker(make_spec(WorkerMode.RUN))  # type: ignore[misc]
        told = await worker.signal(kind)
    finally:
        await staging.clear_faults(fault.id)
    assert told.code == code
    assert told.connected_at is None
    assert told.raw.startswith("<failure")
    assert told.expires_s == (3600.0 if code == 402 else None)


async def test_network_away_at_start_ends_the_worker(
    linked: WorkerProcess, make_spec: Spec, start_worker: Start
) -> None:
    await linked.stop()
    worker: WorkerProcess = await start_worker(  # type: ignore[misc]
        make_spec(WorkerMode.RUN, proxy="http://127.0.0.1:9")
    )
    told = await worker.signal(SignalKind.DIAL_FAILED)
    assert "refused" in told.raw
    assert await worker.exit_status() == WorkerExit.DIAL_FAILED


async def test_pings_are_seen_and_so_is_their_absence(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    await linked.until(lambda: linked.beats and linked.beats[-1].ping_answered_at, 40.0)
    beat = linked.beats[-1]
    assert beat.ping_sent_at is not None
    assert beat.ping_answered_at is not None
    assert 0 <= beat.ping_answered_at - beat.ping_sent_at < 5
    assert beat.last_frame_at is not None
    assert beat.pss_bytes > 1 << 20
    assert beat.inbox == 0
    fault = await staging.set_fault(SetFault(kind=FaultKind.NO_PONG, account=phone))
    try:
        await linked.until(lambda: (linked.beats[-1].ping_sent_at or 0) > (beat.ping_sent_at or 0), 40.0)
        silent = linked.beats[-1]
        assert silent.ping_answered_at == beat.ping_answered_at
        await linked.signal(SignalKind.KEEPALIVE_TIMEOUT, 20.0)
        probe = await linked.command(Probe(timeout_s=5.0))
        assert probe.error is None, "only pings are lost: a probe shows that the connection works"
    finally:
        await staging.clear_faults(fault.id)


async def test_probe_on_a_silent_connection_gives_up_in_time_and_is_never_doubled(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    healthy = await linked.command(Probe(timeout_s=5.0))
    assert healthy.error is None
    fault = await staging.set_fault(SetFault(kind=FaultKind.STALL, account=phone))
    try:
        before = time.monotonic()
        reply = await linked.command(Probe(timeout_s=2.0))
        assert "within 2 s" in (reply.error or "")
        assert time.monotonic() - before < 10
        assert (await linked.command(Probe(timeout_s=2.0))).error == "a probe is under way"
    finally:
        await staging.clear_faults(fault.id)


async def test_media_host_that_hangs_does_not_hold_up_the_rest(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    fault = await staging.set_fault(SetFault(kind=FaultKind.MEDIA_STATUS, code=503, account=phone))
    [late] = await staging.send(Send(account=phone, contact=ALICE, kind=SendKind.IMAGE, where=Where.STATUS))
    [text] = await staging.send(Send(account=phone, contact=ALICE, text="here", where=Where.STATUS))
    await linked.until(lambda: text in linked.spooled())
    assert late not in linked.spooled()
    await staging.clear_faults(fault.id)
    await linked.until(lambda: late in linked.spooled(), 60.0)


async def test_worker_that_is_stopped_while_the_network_hangs_still_ends(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    fault = await staging.set_fault(SetFault(kind=FaultKind.NO_UPGRADE))
    try:
        await staging.set_fault(SetFault(kind=FaultKind.RESET, account=phone))
        await linked.signal(SignalKind.DISCONNECTED)
        os.kill(linked.pid, signal.SIGTERM)
        assert await linked.exit_status(20.0) == WorkerExit.STOPPED
    finally:
        await staging.clear_faults(fault.id)


async def test_logout_unlinks_the_device(staging: StagingClient, linked: WorkerProcess, phone: str) -> None:
    assert (await linked.command(Logout())).error is None
    assert await linked.exit_status() == WorkerExit.LOGGED_OUT
    entry = await staging.wait_for(JournalKind.UNLINKED, account=phone)
    assert entry.data["by"] == "device"


async def test_second_copy_refuses_to_start(linked: WorkerProcess, make_spec: Spec, start_worker: Start) -> None:
    copy: WorkerProcess = await start_worker(make_spec(WorkerMode.RUN), connect=False)  # type: ignore[misc]
    assert await copy.exit_status() == WorkerExit.STORE_LOCKED


async def test_older_generation_refuses_to_start(linked: WorkerProcess, make_spec: Spec, start_worker: Start) -> None:
    assert (await linked.command(Promote(generation=7))).error is None
    await linked.stop()
    old: WorkerProcess = await start_worker(make_spec(WorkerMode.RUN, generation=6), connect=False)  # type: ignore[misc]
    assert await old.exit_status() == WorkerExit.SUPERSEDED
    new: WorkerProcess = await start_worker(make_spec(WorkerMode.RUN, generation=7))  # type: ignore[misc]
    await new.signal(SignalKind.CONNECTED)
    assert new.hello is not None
    assert new.hello.generation == 7


async def test_engine_of_whatsapp_is_refused_in_staging(make_spec: Spec, start_worker: Start) -> None:
    spec = make_spec(engine_library=str(wheel_library()))
    worker: WorkerProcess = await start_worker(spec, connect=False)  # type: ignore[misc]
    assert await worker.exit_status() == WorkerExit.ENGINE_REFUSED
    assert "would talk to WhatsApp itself" in (worker.folder / "worker.log").read_text()


async def test_staging_copy_is_refused_outside_staging(make_spec: Spec, start_worker: Start) -> None:
    worker: WorkerProcess = await start_worker(make_spec(staging=False), connect=False)  # type: ignore[misc]
    assert await worker.exit_status() == WorkerExit.ENGINE_REFUSED


async def test_restarted_daemon_gets_what_was_not_acknowledged(
    staging: StagingClient, linked: WorkerProcess, phone: str
) -> None:
    linked.acknowledge = False
    before = len(linked.events)
    [first] = await staging.send(Send(account=phone, contact=ALICE, text="one", where=Where.STATUS))
    await linked.until(lambda: len(linked.events) > before)
    numbers = [event.seq for event in linked.events[before:]]
    linked.acknowledge = True
    hello = await linked.connect()  # the older connection is replaced
    assert hello.oldest_event == numbers[0]
    assert hello.first_event == 1
    assert hello.engine_state is EngineState.CONNECTED
    await linked.until(lambda: [event.seq for event in linked.events].count(numbers[0]) == 2)
    assert first in linked.spooled()


async def test_stacks_are_dumped_also_while_the_loop_is_blocked(linked: WorkerProcess) -> None:
    assert (await linked.command(DumpStacks())).error is None
    stacks = linked.folder / "stacks.txt"
    assert "asyncio" in stacks.read_text()
    stacks.write_text("")
    os.kill(linked.pid, signal.SIGUSR1)
    async with asyncio.timeout(5):
        while "Thread" not in stacks.read_text():  # noqa: ASYNC110 - written by a signal handler of another process
            await asyncio.sleep(0.02)


async def test_files_are_private(linked: WorkerProcess) -> None:
    for name in ("device.db", "capture.db", "worker.lock", "control.sock"):
        assert (Path(linked.folder) / name).stat().st_mode & 0o077 == 0, name
