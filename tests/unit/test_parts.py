"""What parts use: of this process for real, of a systemd group as its files tell it."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.model_system import MemoryKind
from appliance.parts import machine_use, process_use, unit_use, workers_use

NOBODY = 2**22 + 1
"""Beyond the largest process number that Linux gives."""


def test_of_this_process() -> None:
    use = process_use("daemon", os.getpid())
    assert (use.processes, use.memory_kind) == (1, MemoryKind.PSS)
    assert use.memory_bytes is not None
    assert use.memory_bytes > 5 << 20
    assert use.cpu_s is not None
    assert use.cpu_s > 0


def test_what_is_not_there_is_said_to_be_so() -> None:
    for pid in (None, NOBODY):
        use = process_use("forkserver", pid)
        assert (use.processes, use.memory_bytes, use.cpu_s) == (0, None, None)


def test_workers_together() -> None:
    use = workers_use([(os.getpid(), 100), (NOBODY, 300), (NOBODY, None)])
    assert (use.processes, use.memory_bytes, use.largest_bytes) == (3, 400, 300)
    assert use.cpu_s is not None
    assert use.cpu_s > 0
    assert workers_use([]).memory_bytes == 0
    assert workers_use([(NOBODY, None)]).memory_bytes is None


def test_a_unit_s_group(tmp_path: Path) -> None:
    folder = tmp_path / "amda-minio.service"
    folder.mkdir()
    (folder / "memory.current").write_text("120000000\n")
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 2000000\n")
    (folder / "cgroup.procs").write_text("7\n8\n")
    use = unit_use("minio", "amda-minio.service", tmp_path)
    assert use is not None
    assert (use.memory_bytes, use.memory_kind, use.cpu_s, use.processes) == (120_000_000, MemoryKind.GROUP, 2.5, 2)
    assert unit_use("minio", "another.service", tmp_path) is None


def test_the_machine(tmp_path: Path) -> None:
    use = machine_use(tmp_path)
    assert 0 < use.memory_available_bytes <= use.memory_bytes
    assert 0 < use.disk_free_bytes <= use.disk_bytes
    assert use.cores >= 1
