"""Sixty sessions under the units that a server has, on a machine of 2 GB: what they cost, and that nobody is killed."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from appliance.bench.memory_limit import MemoryLimit
from appliance.sessions.settings import ReconnectSettings
from tests.system.machine import Machine, eventually, step
from tests.system.pressure import LEFT, LIMIT_S
from tests.system.server import ONLINE_S, STAGING, Server

SESSIONS = 60
MACHINE_BYTES = 2 << 30
"""All of the machine, WhatsApp's stand-in and this test included."""
APPLIANCE_MIB = 1400.0
BACK_S = ONLINE_S + ReconnectSettings().backoff_cap_s
"""A session that was ended again and again while memory was short may be in the longest of its pauses."""
OFTEN = "100"


@pytest.mark.timeout(1800)
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
        with step("who goes first when memory runs out"):
            sys.stderr.write(f"{server.check_order_of_deaths(SESSIONS)} … ")
        with step("it runs out: sessions go first, then the object store, and nobody else"):
            _pressure(server)
        with step("and comes back: all that are to run are online"):
            eventually("as many as were left", lambda: _running(server) == {"online": LEFT}, BACK_S)
            sys.stderr.write(f"{len(server.amda('history'))} lost connections … ")


def _running(server: Server) -> Counter[str]:
    return Counter(state for state in server.states().values() if state != "stopped")


def _pressure(server: Server) -> None:
    """On a server the kernel's own count shows that these deaths are nobody's fault, and none is charged. A container
    may have no such count (control groups of version 1 have none), and on a slow machine five deaths come together."""
    machine = server.machine
    machine.run("amda", "config", "set", "reconnect.attempts_per_hour", OFTEN, "reconnect.crash_limit", OFTEN)
    shutil.copy(Path(__file__).with_name("pressure.py"), machine.path("/srv/amda/pressure.py"))
    press = ("/opt/amda/current/.venv/bin/python", "/srv/amda/pressure.py")
    said = json.loads(machine.run(*press, timeout_s=LIMIT_S + ONLINE_S).stdout)
    sys.stderr.write(f"{said} ")
    assert said["order"] == ["worker"] * said["workers"] + ["amda-minio"]
    assert said["spared"] == ["amda", "amda-sessions", "amda-redis"]
