"""Runs inside a machine, with the installed release's Python, as root: takes memory until the kernel has killed the
object store, which is the last that it is to kill. In which order it killed stands in its own log.

pressure.py     prints one line of JSON: who went on, and how long it took
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.client import ApplianceClient
from appliance.model import SessionState

LEFT = 3
"""Sessions that go on: enough to see that they are taken before anything else, and quickly enough."""
PIECE = 4 << 20
"""Bytes taken between two looks at who is gone."""
LIMIT_S = 120.0
"""Against one that hangs: it takes one to three seconds."""
LAST = "amda-minio"
SPARED = ("amda", "amda-sessions", "amda-redis")
NEXT = "next in line"
NEXT_IN_LINE = f"""
import ctypes, pathlib, sys
ctypes.CDLL(None).prctl(15, {NEXT.encode()!r})  # PR_SET_NAME
pathlib.Path("/proc/self/oom_score_adj").write_text("100")
taken = b"x" * (32 << 20)
print(flush=True)
sys.stdin.read()
"""
"""A process that stands after the object store and before everybody else: while the kernel takes down one that it has
killed, it no longer counts it among those that are about to leave their memory, and now and then kills one more."""
MCL_CURRENT, MCL_FUTURE = 1, 2
"""mlockall(2)."""


def main_pid(unit: str) -> int:
    """Of a unit that runs."""
    shown = subprocess.run(
        ["systemctl", "show", "--value", "--property=MainPID", unit], capture_output=True, text=True, check=True
    )
    if not (pid := int(shown.stdout)):
        raise SystemExit(f"{unit} does not run")
    return pid


def there(pid: int) -> bool:
    """Alive: one that the kernel has killed is a zombie, or nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def leave_some() -> None:
    async with ApplianceClient(Path("/run/amda/api.sock")) as api:
        views = [view for view in await api.sessions() if view.state is not SessionState.STOPPED]
        for view in views[LEFT:]:
            await api.stop_session(view.id)


def stay_in_memory() -> None:
    """Otherwise this program's own pages are thrown out and read again like everybody's. As long as all run in such
    circles there is always something to throw out, and the kernel sees no cause to kill, for ten minutes and more."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE):
        raise OSError(ctypes.get_errno(), f"mlockall: {os.strerror(ctypes.get_errno())}")


@contextlib.contextmanager
def next_in_line() -> Iterator[None]:
    command = (sys.executable, "-c", NEXT_IN_LINE)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def press(last: int) -> float:
    """Takes memory until that process has died; seconds.

    In a file of /dev/shm: that is memory which belongs to no process, so that there is no use in killing this one."""
    stay_in_memory()
    started = time.monotonic()
    with tempfile.TemporaryFile(dir="/dev/shm", buffering=0) as taken, next_in_line():
        while there(last):
            if time.monotonic() - started > LIMIT_S:
                raise SystemExit(f"{LAST} is still there after {os.fstat(taken.fileno()).st_size >> 20} MiB")
            taken.write(b"\1" * PIECE)
    return time.monotonic() - started


def main() -> None:
    asyncio.run(leave_some())
    spared = {unit: main_pid(unit) for unit in SPARED}
    took = press(main_pid(LAST))
    answer = {
        "seconds": round(took, 1),
        "spared": [unit for unit, pid in spared.items() if there(pid) and main_pid(unit) == pid],
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
