"""Identity, parentage and death of processes, on real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from appliance import processes

CHILD = """
import os, sys, signal
from appliance.processes import die_with_parent
sys.stdin.readline()
"""
PARENT = """
import os, sys
from appliance.processes import die_with_parent
me = os.getpid()
child = os.fork()
if child == 0:
    die_with_parent(me)
    print(os.getpid(), flush=True)
    sys.stdin.read()
os.waitpid(child, 0)
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


def test_identity_ends_with_the_process(child: subprocess.Popen[bytes]) -> None:
    identity = processes.identify(child.pid)
    assert processes.is_running(identity)
    assert not processes.is_running(identity._replace(start_ticks=identity.start_ticks - 1))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_running(identity), "a zombie does not run"
    child.wait()
    assert not processes.is_running(identity)
    with pytest.raises(ProcessLookupError, match="no process"):
        processes.identify(child.pid)


def test_family(child: subprocess.Popen[bytes]) -> None:
    assert processes.parent_of(child.pid) == os.getpid()
    assert child.pid in processes.children_of(os.getpid())
    assert processes.descends_from(child.pid, os.getpid())
    assert not processes.descends_from(os.getpid(), child.pid)
    assert not processes.descends_from(2**22 + 1, os.getpid())
    assert processes.children_of(2**22 + 1) == []


def test_memory(child: subprocess.Popen[bytes]) -> None:
    assert 1 << 20 < processes.pss_bytes() < 1 << 32
    assert processes.pss_bytes(child.pid) < processes.pss_bytes()


def test_child_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        grandchild = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(signal.SIGKILL)
            assert parent.stdout.read() == b"", "the pipe closes when the last process that holds it has ended"
        finally:
            os.close(grandchild)


def test_a_parent_that_is_gone_is_noticed() -> None:
    code = "from appliance.processes import die_with_parent; die_with_parent(1 << 22)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ProcessLookupError: the parent process 4194304 has ended" in result.stderr


def test_name_is_cut_to_what_the_kernel_keeps() -> None:
    code = (
        "from appliance.processes import set_name; from pathlib import Path\n"
        "set_name('amda worker with a long name'); print(Path('/proc/self/comm').read_text(), end='')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "amda worker wit\n"
