"""How a daemon lives: alone in its folder, until it is told to stop, and never half."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from appliance.lifecycle import AlreadyRunningError, only_one, run_until, stop_request


def test_lock_names_its_holder_and_is_given_back(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "daemon.lock"
    with only_one(lock), pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}.*stop it"), only_one(lock):
        pass
    with only_one(lock):
        assert lock.stat().st_mode & 0o777 == 0o600


async def test_background_work_ends_with_the_request() -> None:
    stop, ended = stop_request(), asyncio.Event()

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(5):
        await run_until(stop, work())
    assert ended.is_set()


async def test_work_that_breaks_ends_everything() -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(5):
            await run_until(asyncio.Event(), broken())
    assert caught.value.subgroup(RuntimeError)
