"""Starts programs by `confined.py`, and ends them in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from appliance.media.compression import confined

_OUTPUT_LIMIT: Final = 64 * 1024
"""What a program says about a file; a hostile one could make it talk for ever."""
NO_LIMIT: Final = -1
"""RLIM_INFINITY."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    data_bytes: int
    cpu_s: int = NO_LIMIT
    file_bytes: int = NO_LIMIT
    """Largest file that it may write."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    output: str
    """The end of what it wrote to standard error."""
    timed_out: bool = False


def command(limits: Limits, program: Sequence[str]) -> list[str]:
    """The whole command line. Only for a child of this process."""
    numbers = (os.getpid(), limits.data_bytes, limits.cpu_s, limits.file_bytes)
    return [sys.executable, "-I", "-S", confined.__file__, *map(str, numbers), *program]


async def start(
    limits: Limits,
    program: Sequence[str],
    *,
    pass_fds: Sequence[int],
    environment: Mapping[str, str],
    stderr: int = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start it; from the main thread, whose end the kernel watches."""
    return await asyncio.create_subprocess_exec(
        *command(limits, program),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        env=dict(environment),
        start_new_session=True,
    )


async def run(limits: Limits, program: Sequence[str], *, pass_fds: Sequence[int], timeout_s: float) -> Ended:
    """Run it to its end, or kill it after `timeout_s`. Raises OSError if no process can be made."""
    process = await start(
        limits, program, pass_fds=pass_fds, environment={"LC_ALL": "C"}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(timeout_s):
            output = await _last_output(process)
            status = await process.wait()
    except TimeoutError:
        return Ended(status=await kill(process), output="", timed_out=True)
    except BaseException:
        await asyncio.shield(kill(process))
        raise
    return Ended(status=status, output=output)


async def kill(process: asyncio.subprocess.Process) -> int:
    """End it at once; its status."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    return await process.wait()


async def _last_output(process: asyncio.subprocess.Process) -> str:
    kept = b""
    if process.stderr is not None:
        while piece := await process.stderr.read(_OUTPUT_LIMIT):
            kept = (kept + piece)[-_OUTPUT_LIMIT:]
    return kept.decode("utf-8", "replace")
