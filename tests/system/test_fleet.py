"""Sixty sessions under the units that a server has, on a machine of 2 GB: what they cost, and that nobody is killed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from appliance.bench.memory_limit import MemoryLimit
from appliance.sessions.settings import ReconnectSettings
from tests.system.machine import Machine, eventually, step
from tests.system.pressure import LEFT, LIMIT_S, NEXT
from tests.system.server import ONLINE_S, STAGING, Server

SESSIONS = 60
MACHINE_BYTES = 2 << 30
"""All of the machine, WhatsApp's stand-in and this test included."""
APPLIANCE_MIB = 1400.0
BACK_S = ONLINE_S + ReconnectSettings().backoff_cap_s
"""A session that was ended again and again while memory was short may be in the longest of its pauses."""
OFTEN = "100"
WORKER = r"amda s\d\d"
"""A session's process calls itself by its session."""


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
            _pressure(server, limit)
        with step("and comes back: the object store, and all sessions that are to run"):
            eventually("the object store", lambda: server.machine.unit("amda-minio", "ActiveState") == "active", BACK_S)
            eventually("as many as were left", lambda: _running(server) == {"online": LEFT}, BACK_S)
            sys.stderr.write(f"{len(server.amda('history'))} lost connections … ")


def _running(server: Server) -> Counter[str]:
    return Counter(state for state in server.states().values() if state != "stopped")


def _pressure(server: Server, limit: MemoryLimit) -> None:
    """On a server the kernel's own count shows that these deaths are nobody's fault, and none is charged. A container
    may have no such count (control groups of version 1 have none), and on a slow machine five deaths come together."""
    machine = server.machine
    machine.run("amda", "config", "set", "reconnect.attempts_per_hour", OFTEN, "reconnect.crash_limit", OFTEN)
    shutil.copy(Path(__file__).with_name("pressure.py"), machine.path("/srv/amda/pressure.py"))
    press = ("/opt/amda/current/.venv/bin/python", "/srv/amda/pressure.py")
    said = json.loads(machine.run(*press, timeout_s=LIMIT_S + ONLINE_S).stdout)
    killed = _killed_in(limit.name)
    sys.stderr.write(f"{said}, killed {killed} ")
    assert said["spared"] == ["amda", "amda-sessions", "amda-redis"]
    sessions = killed[: killed.index("minio")]
    assert len(set(sessions)) == LEFT
    assert all(re.fullmatch(WORKER, name) for name in sessions)
    assert all(name in ("minio", NEXT) or re.fullmatch(WORKER, name) for name in killed)


def _killed_in(group: str) -> list[str]:
    """Names of what the kernel has killed for want of memory in that control group, in its order, from its log."""
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    return re.findall(rf"oom-kill:.*oom_memcg=/{group},.*,task=(.*),pid=", log)
