"""Spawn, refuse, signal, reap, tell; what a worker inherits; what dies with the fork server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from pathlib import Path

import msgspec
import pytest

from appliance.forkserver.child import EXIT_CRASHED, MAX_LOG_BYTES
from appliance.forkserver.client import ForkServerClient, ForkServerGoneError, Lost, RefusedError
from appliance.processes import children_of, identify, is_running
from appliance.protocol import ForkHello, FromForkServer, WorkerMode
from appliance.sockets import open_lines
from tests.integration.forkserver.conftest import WAIT_S, Bed, appears, start


async def test_life_of_a_worker(bed: Bed) -> None:
    pid = await bed.spawn("polite-1")
    (worker,) = await bed.client.list()
    assert (worker.pid, worker.session, worker.generation) == (pid, "polite-1", 1)
    assert os.getsid(pid) == pid
    await bed.client.kill("polite-1", pid, signal.SIGTERM)
    exited = await bed.exit()
    assert (exited.session, exited.pid, exited.status, exited.signal) == ("polite-1", pid, 0, None)
    assert await bed.client.list() == []


@pytest.mark.parametrize(
    ("session", "status"), [("exit-0", 0), ("exit-7", 7), ("leave-3", 3), ("raise-", EXIT_CRASHED)]
)
async def test_every_end_is_told(bed: Bed, session: str, status: int) -> None:
    await bed.client.spawn(bed.spec(session))
    exited = await bed.exit()
    assert (exited.status, exited.signal) == (status, None)


async def test_a_failure_before_the_worker_runs_is_an_exit_too(bed: Bed) -> None:
    spec = bed.spec("idle-1")
    (Path(spec.store_folder) / "worker.log").mkdir()
    await bed.client.spawn(spec)
    assert (await bed.exit()).status == EXIT_CRASHED
    assert "IsADirectoryError" in (bed.folder / "forkserver.log").read_text()


async def test_killed_by_a_signal(bed: Bed) -> None:
    pid = await bed.spawn("deaf-1")
    await bed.client.kill("deaf-1", pid, signal.SIGTERM)
    await bed.client.kill("deaf-1", pid, signal.SIGKILL)
    exited = await bed.exit()
    assert (exited.status, exited.signal) == (None, signal.SIGKILL)


async def test_no_second_copy(bed: Bed) -> None:
    pid = await bed.spawn("idle-1")
    with pytest.raises(RefusedError, match=f"process {pid} has this store open"):
        await bed.client.spawn(bed.spec("idle-1"))
    with pytest.raises(RefusedError, match=f"process {pid} has this store open"):
        await bed.client.spawn(bed.spec("idle-1", mode=WorkerMode.PAIR))
    with pytest.raises(RefusedError, match=f"process {pid} runs this session"):
        await bed.client.spawn(bed.spec("idle-1", store="s2"))
    pairing = await bed.spawn("idle-1", store="s3", mode=WorkerMode.PAIR)
    link = bed.folder / "sessions/idle-1/link"
    link.symlink_to(bed.folder / "sessions/idle-1/s3")
    with pytest.raises(RefusedError, match=f"process {pairing} has this store open"):
        await bed.client.spawn(bed.spec("idle-1", store="link", mode=WorkerMode.PAIR))
    await bed.client.kill("idle-1", pid, signal.SIGKILL)
    assert (await bed.exit()).pid == pid
    await bed.spawn("idle-1", store="s2")


async def test_a_spec_that_cannot_run_is_refused(bed: Bed) -> None:
    spec = bed.spec("idle-1")
    for changes, complaint in [
        ({"store_folder": "relative"}, "absolute"),
        ({"store_folder": spec.store_folder + "-missing"}, "does not exist"),
        ({"store_folder": str(bed.folder)}, "does not lie in"),
    ]:
        with pytest.raises(RefusedError, match=complaint):
            await bed.client.spawn(msgspec.structs.replace(spec, **changes))


async def test_signals_reach_no_stranger(bed: Bed) -> None:
    pid = await bed.spawn("idle-1")
    for session, target, number in [("other", pid, 9), ("idle-1", os.getpid(), 9), ("idle-1", pid, 4711)]:
        with pytest.raises(RefusedError):
            await bed.client.kill(session, target, number)
    assert [worker.pid for worker in await bed.client.list()] == [pid]


async def test_exits_are_repeated_until_forgotten(bed: Bed) -> None:
    await bed.client.spawn(bed.spec("exit-1"))
    first = await bed.exit()
    async with ForkServerClient(bed.socket) as other:
        events = other.events()
        async with asyncio.timeout(WAIT_S):
            assert isinstance(await anext(events), ForkHello)
            assert await anext(events) == first
        await other.forget_exit(first.pid)
    stream = await open_lines(bed.socket, msgspec.json.Decoder(FromForkServer))
    assert isinstance(await stream.receive(), ForkHello)
    await bed.client.spawn(bed.spec("exit-2"))
    second = await stream.receive()
    assert second == await bed.exit() != first, "the forgotten one does not come again, and all hear the new one"
    stream.abort()


async def test_what_a_worker_inherits(bed: Bed) -> None:
    others = [await open_lines(bed.socket, msgspec.json.Decoder(FromForkServer)) for _ in range(3)]
    for other in others:
        assert isinstance(await other.receive(), ForkHello)
    pid = await bed.client.spawn(bed.spec("where-1"))
    store = bed.folder / "sessions/where-1/s1"
    await appears(store / "ready")
    report = (store / "report").read_text().splitlines()
    log = str(store / "worker.log")
    assert set(report[:3]) == {"0 /dev/null", f"1 {log}", f"2 {log}"}
    assert not [line for line in report if "socket:" in line or "eventpoll" in line or "fork.sock" in line]
    assert f"sid {pid}" in report
    assert "Name:\tamda where-1" in report
    assert "Threads:\t1" in report
    assert "SigBlk:\t0000000000000000" in report
    assert stat.S_IMODE((store / "worker.log").stat().st_mode) == 0o600
    for other in others:
        other.abort()


async def test_the_log_is_bounded(bed: Bed) -> None:
    spec = bed.spec("idle-1")
    log = Path(spec.store_folder) / "worker.log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    await bed.spawn("idle-1")
    assert log.read_text() == "printed by the worker\n"
    assert (log.parent / "worker.log.1").stat().st_size == MAX_LOG_BYTES + 1


async def test_a_worker_cannot_give_orders(bed: Bed) -> None:
    await bed.client.spawn(bed.spec("client-fork.sock"))
    assert (await bed.exit()).status == 42


async def test_hostile_lines_end_their_own_connection_only(bed: Bed) -> None:
    for line in (b"\n", b'{"type":"spawn"}\n', b"\xff\n", b"x" * (1 << 20)):
        reader, writer = await asyncio.open_unix_connection(bed.socket)
        await reader.readline()
        writer.write(line)
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
    assert await bed.client.list() == []


async def test_sixty_at_once_and_their_ends(bed: Bed) -> None:
    pids = [await bed.client.spawn(bed.spec(f"exit-{number}")) for number in range(60)]
    told = {(exited := await bed.exit()).pid: exited.status for _ in pids}
    assert told == dict(zip(pids, range(60), strict=True))


async def test_stop_is_orderly_and_bounded(bed: Bed) -> None:
    polite = await bed.spawn("polite-1")
    processes = [identify(polite), identify(bed.process.pid)]
    bed.process.terminate()
    exited = await bed.exit()
    assert (exited.pid, exited.status) == (polite, 0)
    assert isinstance(await bed.event(), Lost)
    async with asyncio.timeout(WAIT_S):
        assert await bed.process.wait() == 0
    assert not any(map(is_running, processes))
    assert not bed.socket.exists()
    with pytest.raises(ForkServerGoneError):
        await bed.client.spawn(bed.spec("idle-2"))


async def test_stop_kills_who_does_not_end(bed: Bed) -> None:
    deaf = await bed.spawn("deaf-1")
    bed.process.terminate()
    assert ((exited := await bed.exit()).pid, exited.signal) == (deaf, signal.SIGKILL)
    async with asyncio.timeout(WAIT_S):
        assert await bed.process.wait() == 0


async def test_workers_die_with_a_killed_fork_server_and_the_client_finds_the_next(bed: Bed) -> None:
    workers = [os.pidfd_open(await bed.spawn(f"deaf-{number}")) for number in range(3)]
    assert isinstance(await bed.event(), ForkHello)
    bed.process.kill()
    loop = asyncio.get_running_loop()
    for fd in workers:
        ended = loop.create_future()
        loop.add_reader(fd, ended.set_result, None)
        async with asyncio.timeout(WAIT_S):
            await ended
        loop.remove_reader(fd)
        os.close(fd)
    assert isinstance(await bed.event(), Lost)
    successor = await start(bed.folder)
    assert (await bed.client.wait_connected(WAIT_S)).pid == successor.pid
    assert await bed.client.list() == []
    successor.terminate()
    await successor.wait()


async def test_a_second_one_on_the_same_socket_is_refused(bed: Bed) -> None:
    second = await start(bed.folder)
    async with asyncio.timeout(WAIT_S):
        assert await second.wait() == 1
    assert "another process listens" in (bed.folder / "forkserver.log").read_text()
    assert await bed.client.list() == []


async def test_one_thread_and_no_engine(bed: Bed) -> None:
    await bed.spawn("idle-1")
    proc = Path(f"/proc/{bed.process.pid}")
    assert len(list((proc / "task").iterdir())) == 1
    assert "neonize" not in (proc / "maps").read_text()
    assert len(children_of(bed.process.pid)) == 1
