"""Programs are kept running, with reasons when they cannot be, and end with their manager whatever ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from appliance.keeper import Keeper, PartError, Program
from appliance.processes import children_of, identify, is_running

LISTENS = """
import signal, sys
from appliance.sockets import bind_unix
print("said by the program", flush=True)
sock = bind_unix(sys.argv[1])
while True:
    signal.pause()
"""
DEAF = LISTENS.replace("sock =", "signal.signal(signal.SIGTERM, signal.SIG_IGN); sock =")
FAILS = "import sys; sys.exit('the disk is full')"
ROOT = str(Path(__file__).parents[3])
MANAGER = """
import asyncio, sys
from pathlib import Path
from appliance.keeper import Keeper, Program
async def main():
    program = Program("x", [sys.executable, "-c", sys.argv[1], sys.argv[2]], socket=Path(sys.argv[2]),
                      environment={"PYTHONPATH": sys.argv[3]}, grace_s=5, log=None)
    keeper = Keeper(program)
    keeper.begin()
    await keeper.first_start()
    print(program.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

Make = Callable[..., Keeper]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    keepers: list[Keeper] = []

    def make(code: str, grace_s: float = 5.0) -> Keeper:
        socket = tmp_path / "x.sock"
        command = [sys.executable, "-c", code, str(socket)]
        environment = {**os.environ, "PYTHONPATH": ROOT}
        log = tmp_path / "x.log"
        program = Program("x", command, socket=socket, environment=environment, grace_s=grace_s, log=log)
        keepers.append(Keeper(program))
        return keepers[-1]

    yield make
    for keeper in keepers:
        await keeper.stop()


async def test_kept_running(make: Make, tmp_path: Path) -> None:
    keeper = make(LISTENS)
    keeper.begin()
    async with asyncio.timeout(20):
        await keeper.first_start()
        first = keeper.part.pid
        assert first
        process = identify(first)
        for number in (signal.SIGKILL, signal.SIGTERM):
            await keeper.signal(number)
            assert not is_running(process)
            await keeper.ready()
            assert keeper.part.pid not in (None, first)
    last = keeper.part.pid
    assert last
    process = identify(last)
    await keeper.stop()
    assert not is_running(process)
    assert not (tmp_path / "x.sock").exists()
    assert (tmp_path / "x.log").read_text() == "said by the program\n" * 3
    assert stat.S_IMODE((tmp_path / "x.log").stat().st_mode) == 0o600
    with pytest.raises(PartError, match="does not run"):
        await keeper.signal(signal.SIGTERM)


async def test_the_reason_of_a_failed_start(make: Make) -> None:
    keeper = make(FAILS)
    keeper.begin()
    with pytest.raises(PartError, match="x ended at its start with status 1: the disk is full"):
        await keeper.first_start()
    await keeper.stop()
    assert keeper.part.pid is None


async def test_a_deaf_program_is_killed(make: Make) -> None:
    keeper = make(DEAF, grace_s=0.2)
    keeper.begin()
    await keeper.first_start()
    assert keeper.part.pid
    process = identify(keeper.part.pid)
    await keeper.stop()
    assert not is_running(process)


async def test_stop_while_it_starts(make: Make) -> None:
    before = set(children_of(os.getpid()))
    keeper = make("import signal; signal.pause()")
    keeper.begin()
    while set(children_of(os.getpid())) == before:  # noqa: ASYNC110 (the moment between fork and ready has no event)
        await asyncio.sleep(0)
    await keeper.stop()
    assert set(children_of(os.getpid())) == before


async def test_dies_with_a_killed_manager(tmp_path: Path) -> None:
    manager = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MANAGER, LISTENS, str(tmp_path / "x.sock"), ROOT),
        env={**os.environ, "PYTHONPATH": ROOT},
        stdout=asyncio.subprocess.PIPE,
    )
    assert manager.stdout
    async with asyncio.timeout(20):
        while not (line := await manager.stdout.readline()).strip().isdigit():
            assert line, "the manager ended"
        program = os.pidfd_open(int(line))
        ended = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(program, ended.set_result, None)
        manager.kill()
        await ended
        asyncio.get_running_loop().remove_reader(program)
        os.close(program)
        await manager.wait()
