"""The fork server as it is shipped: what it has loaded, with which environment, and with the real worker's code."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import appliance
from appliance.children import package_environment
from appliance.forkserver.client import ForkServerClient
from appliance.forkserver.environment import ENGINE_ENVIRONMENT
from appliance.processes import pss_bytes
from appliance.protocol import WorkerExit, WorkerMode
from tests.integration.forkserver.conftest import WAIT_S, Bed


@pytest.fixture
async def shipped(tmp_path: Path) -> AsyncIterator[Bed]:
    bare = {name: value for name, value in os.environ.items() if name not in ENGINE_ENVIRONMENT}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "appliance.forkserver", "--socket", str(tmp_path / "fork.sock")),
        env=package_environment(bare) | {"GOMEMLIMIT": "64MiB"},
    )
    async with ForkServerClient(tmp_path / "fork.sock") as client:
        hello = await client.wait_connected(WAIT_S)
        assert (hello.release, hello.pid) == (appliance.__version__, process.pid)
        yield Bed(tmp_path, process, client)
    process.terminate()
    await process.wait()


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


async def test_what_the_engine_reads_at_exec_is_set(shipped: Bed) -> None:
    environment = environment_of(shipped.process.pid)
    assert environment["GOMEMLIMIT"] == "64MiB", "an operator's choice is kept"
    others = {name: value for name, value in ENGINE_ENVIRONMENT.items() if name != "GOMEMLIMIT"}
    assert {name: environment.get(name) for name in others} == others


async def test_one_thread_and_no_engine_with_everything_preloaded(shipped: Bed) -> None:
    proc = Path(f"/proc/{shipped.process.pid}")
    assert len(list((proc / "task").iterdir())) == 1
    assert "neonize" not in (proc / "maps").read_text().replace("neonize.proto", "")
    assert pss_bytes(shipped.process.pid) > 20 << 20, "the protobuf classes are loaded"


async def test_the_real_worker_runs_and_its_status_is_told(shipped: Bed) -> None:
    await shipped.client.spawn(shipped.spec("a"))
    exited = await shipped.exit()
    assert exited.status == WorkerExit.ENGINE_REFUSED
    log = (shipped.folder / "sessions/a/s1/worker.log").read_text()
    assert "/nonexistent" in log
    assert "Traceback" not in log


async def test_it_moves_to_itself(shipped: Bed) -> None:
    before = shipped.client.hello
    assert before
    after = await shipped.client.exec_in_place(sys.executable)
    assert (after.pid, after.release) == (before.pid, before.release)
    assert environment_of(after.pid)["GOMEMLIMIT"] == "64MiB"
    await shipped.client.spawn(shipped.spec("a", mode=WorkerMode.PAIR))
    assert (await shipped.exit()).status == WorkerExit.ENGINE_REFUSED


async def test_it_never_wakes_up_by_itself(shipped: Bed) -> None:
    def sleeps() -> str:
        status = Path(f"/proc/{shipped.process.pid}/status").read_text().splitlines()
        return next(line for line in status if line.startswith("voluntary_ctxt_switches"))

    await shipped.client.list()
    before, earlier = sleeps(), ""
    async with asyncio.timeout(WAIT_S):
        while before != earlier:  # it may still be on its way to sleep after its answer
            earlier = before
            await asyncio.sleep(0.3)
            before = sleeps()
    await asyncio.sleep(1.5)  # the absence of an event is what is looked for
    assert sleeps() == before
