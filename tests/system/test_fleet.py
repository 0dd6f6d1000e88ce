"""Sixty sessions under the units that a server has, on a machine of 2 GB: what they cost, and that nobody is killed."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from appliance.bench.memory_limit import MemoryLimit
from tests.system.machine import Machine, eventually, step
from tests.system.pressure import LEFT
from tests.system.server import ONLINE_S, STAGING, Server

SESSIONS = 60
MACHINE_BYTES = 2 << 30
"""All of the machine, WhatsApp's stand-in and this test included."""
APPLIANCE_MIB = 1400.0


@pytest.mark.timeout(1200)
def test_sixty_sessions_on_two_gigabytes(published: Path, tmp_path: Path) -> None:
    with MemoryLimit(MACHINE_BYTES) as limit, Machine("bookworm", tmp_path / "machine") as machine:
        server = Server(machine, published)
        server.start_whatsapp()
        with step("install"):
            server.install()
        shutil.copy(Path(__file__).with_name("fleet.py"), machine.path("/srv/amda/fleet.py"))
        with step(f"link {SESSIONS} sessions, let them rest, measure"):
            python = "/opt/amda/current/.venv/bin/python"
            done = machine.run(python, "/srv/amda/fleet.py", str(SESSIONS), STAGING, timeout_s=1000)
        figures = json.loads(done.stdout)
        limit.read()
        sys.stderr.write(f"    {figures}, peak of the machine {limit.peak >> 20} MiB, killed {limit.killed}\n")
        assert figures["online"] == SESSIONS
        assert figures["total_mib"] <= APPLIANCE_MIB
        assert limit.killed == 0
        with step("memory runs out: sessions go first, then the object store, and nobody else"):
            _pressure(server)
        with step("and comes back: all that are to run are online"):
            eventually("as many as were left", lambda: _running(server) == {"online": LEFT}, ONLINE_S)


def _running(server: Server) -> Counter[str]:
    return Counter(state for state in server.states().values() if state != "stopped")


def _pressure(server: Server) -> None:
    machine = server.machine
    shutil.copy(Path(__file__).with_name("pressure.py"), machine.path("/srv/amda/pressure.py"))
    said = json.loads(machine.run("/opt/amda/current/.venv/bin/python", "/srv/amda/pressure.py").stdout)
    sys.stderr.write(f"{said} ")
    scores = said["scores"]
    assert scores["worker"] > scores["amda-minio"] > max(scores["amda"], scores["amda-sessions"], scores["amda-redis"])
    assert said["order"] == ["worker"] * said["workers"] + ["amda-minio"]
    assert said["spared"] == ["amda", "amda-sessions", "amda-redis"]
