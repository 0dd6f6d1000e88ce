"""Runs inside a machine, with the installed release's Python: links many sessions at once, then says what they cost.

fleet.py SESSIONS STAGING-FOLDER     prints one line of JSON
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from appliance.bench.measure import pss_mib
from appliance.client import ApplianceClient
from appliance.model import PairingState, SessionState
from appliance.processes import children_of
from appliance.staging.client import StagingClient
from appliance.staging.control_types import AddAccount

PARALLEL = 8
"""Users who ask at once; how many are linked at once is the appliance's own decision."""
SETTLE_S = 45.0
"""After the last login: what a session costs at rest (design, section 6)."""
UNITS = ("amda", "amda-sessions", "amda-redis", "amda-minio")


async def link(api: ApplianceClient, staging: StagingClient, number: int) -> None:
    session, phone = f"s{number:02d}", f"+22177{1_000_000 + number}"
    await staging.add_account(AddAccount(phone=phone))
    await api.create_session(session)
    typed = None
    view = asked = await api.pair(session, phone=phone)
    async for view in api.follow_pairing(asked):
        if view.code and view.code != typed:
            typed = view.code
            await staging.type_code(phone, view.code, now=True)
    if view.state is not PairingState.LINKED:
        raise SystemExit(f"{session} was not linked: {view.state.value}: {view.reason}")


async def online(api: ApplianceClient) -> int:
    return sum(view.state is SessionState.ONLINE for view in await api.sessions())


def pid_of(unit: str) -> int:
    shown = subprocess.run(
        ["systemctl", "show", "--value", "--property=MainPID", unit], capture_output=True, text=True, check=True
    )
    return int(shown.stdout)


async def main(sessions: int, folder: Path) -> None:
    started = time.monotonic()
    async with ApplianceClient(Path("/run/amda/api.sock")) as api, StagingClient(folder) as staging:
        turns = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> None:
            async with turns:
                await link(api, staging, number)

        await asyncio.gather(*(one(number) for number in range(1, sessions + 1)))
        linked_s = time.monotonic() - started
        await asyncio.sleep(SETTLE_S)
        pids = {unit: pid for unit in UNITS if (pid := pid_of(unit))}
        parts = {unit: round(pss_mib(pid), 1) for unit, pid in pids.items()}
        workers = [pss_mib(pid) for pid in children_of(pids["amda-sessions"])]
        figures = {
            "online": await online(api),
            "linked_s": round(linked_s, 1),
            "parts_mib": parts,
            "worker_mean_mib": round(sum(workers) / len(workers), 1),
            "total_mib": round(sum(parts.values()) + sum(workers), 1),
        }
        sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
