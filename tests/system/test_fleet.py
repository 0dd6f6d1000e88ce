"""Sixty sessions under the units that a server has, on a machine of 2 GB: what they cost, and that nobody is killed."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from appliance.bench.memory_limit import MemoryLimit
from tests.system.machine import Machine, step
from tests.system.server import STAGING, Server

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
