"""Slots by free memory: of the machine, and of every control group above us."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pairing.slots import MAX_SLOTS, MIN_SLOTS, RESERVE_BYTES, SLOT_BYTES, free_memory, slots_for

MIB = 1 << 20


class Machine:
    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        self.write("proc/meminfo", "MemTotal:  2048000 kB\nMemAvailable:    1024000 kB\n")
        self._folder = folder

    def write(self, name: str, text: str) -> None:
        file = self.proc.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="ascii")

    def free(self) -> int:
        return free_memory(self.proc, self.groups)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_control_groups_the_machine_counts(machine: Machine) -> None:
    assert machine.free() == 1_024_000 * 1024


def test_tightest_group_counts_and_its_inactive_cache_is_free(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/system.slice/amda.service\n")
    machine.write("cgroup/system.slice/amda.service/memory.max", "max\n")
    machine.write("cgroup/system.slice/amda.service/memory.current", f"{100 * MIB}\n")
    machine.write("cgroup/system.slice/memory.max", f"{700 * MIB}\n")
    machine.write("cgroup/system.slice/memory.current", f"{500 * MIB}\n")
    machine.write("cgroup/system.slice/memory.stat", f"anon 1\ninactive_file {40 * MIB}\n")
    assert machine.free() == 240 * MIB


def test_first_version_of_the_controller(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:cpu,cpuacct:/\n3:memory:/box\n")
    machine.write("cgroup/memory/box/memory.limit_in_bytes", f"{600 * MIB}\n")
    machine.write("cgroup/memory/box/memory.usage_in_bytes", f"{200 * MIB}\n")
    machine.write("cgroup/memory/memory.limit_in_bytes", f"{0x7FFFFFFFFFFFF000}\n")
    machine.write("cgroup/memory/memory.usage_in_bytes", f"{900 * MIB}\n")
    assert machine.free() == 400 * MIB


def test_group_that_is_over_its_limit_has_nothing_left(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("cgroup/memory.max", f"{MIB}\n")
    machine.write("cgroup/memory.current", f"{2 * MIB}\n")
    assert machine.free() == 0


@given(st.integers(0, 1 << 40))
def test_always_between_two_and_sixteen_and_never_more_than_fits(free: int) -> None:
    slots = slots_for(free)
    assert MIN_SLOTS <= slots <= MAX_SLOTS
    assert slots == MIN_SLOTS or RESERVE_BYTES + slots * SLOT_BYTES <= free


def test_this_machine_can_be_measured() -> None:
    assert free_memory() > 0
