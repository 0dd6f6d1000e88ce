"""Another release takes over in place: same process, same children, nothing forgotten; or nothing changes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.forkserver.client import RefusedError
from appliance.processes import children_of, identify, is_running
from tests.integration.forkserver.conftest import Bed

Interpreter = Callable[..., str]


async def test_workers_and_exits_survive(bed: Bed, interpreter: Interpreter) -> None:
    pid = await bed.spawn("deaf-1")
    worker = identify(pid)
    await bed.client.spawn(bed.spec("exit-5"))
    ended = await bed.exit()
    before = await bed.client.list()
    hello = await bed.client.exec_in_place(interpreter("2.0"))
    assert (hello.release, hello.pid) == ("2.0", bed.process.pid)
    assert await bed.client.list() == before
    assert is_running(worker)
    assert children_of(bed.process.pid) == [pid]
    with pytest.raises(RefusedError, match="has this store open"):
        await bed.client.spawn(bed.spec("deaf-1"))
    await bed.spawn("idle-2")
    await bed.client.kill("deaf-1", pid, signal.SIGKILL)
    exited = await bed.exit()
    assert (exited.pid, exited.signal, exited.generation) == (pid, signal.SIGKILL, ended.generation)
    await bed.client.forget_exit(ended.pid)


async def test_several_moves_leak_nothing(bed: Bed, interpreter: Interpreter) -> None:
    await bed.spawn("idle-1")

    def descriptors() -> int:
        return sum(1 for _ in Path(f"/proc/{bed.process.pid}/fd").iterdir())

    counts = []
    for release in ("2.0", "3.0", "4.0"):
        assert (await bed.client.exec_in_place(interpreter(release))).release == release
        await bed.client.list()
        counts.append(descriptors())
    assert counts[0] == counts[2]
    bed.process.terminate()
    assert await bed.process.wait() == 0


async def test_workers_still_die_with_it_afterwards(bed: Bed, interpreter: Interpreter) -> None:
    worker = os.pidfd_open(await bed.spawn("deaf-1"))
    await bed.client.exec_in_place(interpreter("2.0"))
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(worker, ended.set_result, None)
    bed.process.kill()
    async with asyncio.timeout(10):
        await ended
    loop.remove_reader(worker)
    os.close(worker)


@pytest.mark.parametrize(
    ("python", "complaint"),
    [("/nonexistent/python", "cannot be run"), ("/bin/false", "was not taken: it said nothing")],
)
async def test_no_such_release(bed: Bed, python: str, complaint: str) -> None:
    pid = await bed.spawn("idle-1")
    with pytest.raises(RefusedError, match=complaint):
        await bed.client.exec_in_place(python)
    assert [worker.pid for worker in await bed.client.list()] == [pid]


async def test_a_release_that_does_not_load_is_not_taken(bed: Bed, interpreter: Interpreter) -> None:
    pid = await bed.spawn("idle-1")
    hello = bed.client.hello
    with pytest.raises(RefusedError, match="ImportError: this release lacks a library"):
        await bed.client.exec_in_place(interpreter("2.0", "AMDA_TEST_BROKEN=2.0"))
    assert bed.client.hello is hello, "the connection did not even break"
    assert [worker.pid for worker in await bed.client.list()] == [pid]
    assert (await bed.client.exec_in_place(interpreter("3.0"))).release == "3.0"


async def test_orders_go_on_during_the_trial_and_a_second_one_is_refused(bed: Bed, interpreter: Interpreter) -> None:
    fifo = bed.folder / "gate"
    os.mkfifo(fifo)
    slow = bed.folder / "slow"
    slow.write_text(f'#!/bin/sh\nread line < "{fifo}"\nexit 1\n', "utf-8")
    slow.chmod(0o700)
    first = asyncio.create_task(bed.client.exec_in_place(str(slow)))
    gate = await asyncio.to_thread(fifo.open, "w")
    with gate:
        with pytest.raises(RefusedError, match="already under way"):
            await bed.client.exec_in_place(interpreter("2.0"))
        await bed.spawn("idle-1")
    with pytest.raises(RefusedError, match="said nothing"):
        await first
    assert (await bed.client.exec_in_place(interpreter("2.0"))).release == "2.0"
