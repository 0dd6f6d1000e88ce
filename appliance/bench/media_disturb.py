"""What goes wrong while media is taken in: S3 is away, the daemon is killed, the disk is full."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from appliance.bench.media_choices import Disturbance
from appliance.bench.rig import BenchError, Rig, api_back, say

BEGIN_AT: Final = 0.25
"""Part of the statuses that is stored before something goes wrong."""
S3_AWAY_S: Final = 120.0
KILLS: Final = 5
KILL_PAUSE_S: Final = 6.0
"""Between two kills: the daemon is back and at work again."""
_STEP: Final = 16 << 20
DISK_BYTES: Final = 2 << 30
"""Of the file system of its own; it lies in memory, and takes what is written to it."""
LEFT_BYTES: Final = 48 << 20
"""What the one who fills the disk leaves free: less than where intake stops (`capture.min_free_bytes`)."""
FULL_S: Final = 60.0


class Store(Protocol):
    """An object store that can be away."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


async def disturb(what: Disturbance, rig: Rig, store: Store | None, stored: Callable[[float], Awaitable[None]]) -> int:
    """Let it go wrong, and mend it; how often. `stored(part)` returns when that part of everything is stored."""
    if what is Disturbance.NONE:
        return 0
    await stored(BEGIN_AT)
    if what is Disturbance.S3_STOP:
        if store is None:
            raise BenchError("disturb: s3-stop needs --store s3")
        return await _stop_store(store)
    if what is Disturbance.DAEMON_KILLS:
        return await _kill_daemon(rig)
    return await _fill_disk(rig)


async def _stop_store(store: Store) -> int:
    say(f"S3 is away for {S3_AWAY_S:.0f} s")
    await store.stop()
    await asyncio.sleep(S3_AWAY_S)
    await store.start()
    say("S3 is back")
    return 1


async def _kill_daemon(rig: Rig) -> int:
    for number in range(KILLS):
        await rig.appliance.kill_daemon()
        await rig.appliance.wait_ready("daemon")
        await api_back(rig.api)
        say(f"the daemon was killed ({number + 1} of {KILLS})")
        await asyncio.sleep(KILL_PAUSE_S)
    return KILLS


async def _fill_disk(rig: Rig) -> int:
    state = rig.settings.paths.state_dir
    ballast = state / "ballast"
    await asyncio.to_thread(_fill, ballast)
    say(f"the disk is full for {FULL_S:.0f} s")
    await asyncio.sleep(FULL_S)
    await asyncio.to_thread(ballast.unlink)
    say("there is room again")
    return 1


def _fill(ballast: Path) -> None:
    """Take what is free but `LEFT_BYTES`, in steps, because others write meanwhile."""
    with ballast.open("wb") as file:
        size = 0
        while (free := shutil.disk_usage(ballast).free - LEFT_BYTES) > 0:
            step = min(free, _STEP)
            os.posix_fallocate(file.fileno(), size, step)
            size += step


@contextlib.asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[None]:
    """A file system of its own for `folder`. Raises BenchError without the right to mount one."""
    await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    await _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "amda-bench", str(folder))
    try:
        yield
    finally:
        await _run("umount", "--lazy", str(folder))


async def _run(*command: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, said = await process.communicate()
    except OSError as error:
        raise BenchError(f"{command[0]} cannot be run: {error.strerror}") from error
    if process.returncode:
        raise BenchError(f"{' '.join(command[:3])}: {said.decode(errors='replace').strip()}; run as root")
