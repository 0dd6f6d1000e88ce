"""Long-lived child processes of a manager: started so that they cannot be left behind, ended in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from appliance import tether

KILL_WAIT_S: Final = 5.0
"""A killed process is gone at once unless the disk hangs."""


async def start_tethered(
    command: Sequence[str | os.PathLike[str]],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: int = asyncio.subprocess.DEVNULL,
    output: int | IO[bytes] | None = None,
    errors: int | None = None,
) -> asyncio.subprocess.Process:
    """Start a child that dies with this process; `output` takes both its output streams, unless `errors` takes one.

    It gets a session of its own: a Ctrl-C in the terminal is for the manager, which ends its children in order.
    To be called from the main thread: the kernel watches the thread that forks.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        tether.__file__,
        str(os.getpid()),
        *command,
        stdin=stdin,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT if output is not None and errors is None else errors,
        env=None if environment is None else dict(environment),
        start_new_session=True,
    )


async def end(process: asyncio.subprocess.Process, grace_s: float) -> bool:
    """SIGTERM, and SIGKILL after `grace_s` seconds. Returns whether the process ended by itself."""
    if process.returncode is not None:
        return True
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(grace_s):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_WAIT_S):
                await process.wait()
        return False
    return True


def package_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` in which `python -P -m appliance…` finds this package, also in a checkout that is not installed."""
    root = str(Path(tether.__file__).parents[1])
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if root in (*paths, *(path for path in sys.path if Path(path).name == "site-packages")):
        return dict(environment)
    return {**environment, "PYTHONPATH": os.pathsep.join([root, *paths])}
