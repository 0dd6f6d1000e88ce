"""Runs inside a machine, with the installed release's Python, as root: takes memory until the kernel has killed what it
is to kill first, and says in which order that was.

pressure.py     prints one line of JSON: the order, and what has become of the rest
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance.client import ApplianceClient
from appliance.model import SessionState
from appliance.processes import children_of

LEFT = 3
"""Sessions that go on: enough to see that they are taken before anything else, and quickly enough."""
PIECE = 4 << 20
"""Bytes taken between two looks at who is gone."""
LIMIT_S = 600.0
"""Against one that hangs. Alone it takes 20 to 50 s; beside other work longer: short of memory, a machine throws out
its programs and reads them again, and sessions that come back have to be ended again before anything else is."""
LAST = "amda-minio"
SPARED = ("amda", "amda-sessions", "amda-redis")


def main_pid(unit: str) -> int:
    shown = subprocess.run(
        ["systemctl", "show", "--value", "--property=MainPID", unit], capture_output=True, text=True, check=True
    )
    return int(shown.stdout)


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


def press(watched: dict[int, str]) -> list[tuple[str, float]]:
    """Takes memory until the last of them has died; what died, in order, and after how many seconds.

    In a file of /dev/shm: that is memory which belongs to no process, so that there is no use in killing this one."""
    died: list[tuple[str, float]] = []
    started = time.monotonic()
    with tempfile.TemporaryFile(dir="/dev/shm", buffering=0) as taken:
        while LAST not in dict(died) and (after := time.monotonic() - started) < LIMIT_S:
            taken.write(b"\1" * PIECE)
            died += [(watched.pop(pid), round(after, 1)) for pid in list(watched) if not there(pid)]
    return died


def main() -> None:
    asyncio.run(leave_some())
    spared = {unit: main_pid(unit) for unit in SPARED}
    workers = children_of(spared["amda-sessions"])
    watched = dict.fromkeys(workers, "worker") | {pid: unit for unit, pid in spared.items()}
    watched[main_pid(LAST)] = LAST
    died = press(watched)
    answer = {
        "order": [name for name, _ in died],
        "after_s": [after for _, after in died],
        "workers": len(workers),
        "spared": [unit for unit, pid in spared.items() if there(pid) and main_pid(unit) == pid],
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
