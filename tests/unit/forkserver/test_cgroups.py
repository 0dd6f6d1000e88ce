"""Control groups are used only where they are ours alone, and each worker gets one with its limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.forkserver.cgroups import CPU_WEIGHT, LEAF, MAX_TASKS, Cgroups, find_cgroups, own_folder
from appliance.protocol import WorkerMode, WorkerSpec

MIB = 1 << 20


def spec(folder: Path) -> WorkerSpec:
    return WorkerSpec(
        session="anna",
        generation=1,
        mode=WorkerMode.RUN,
        session_folder=str(folder),
        store_folder=str(folder),
        engine_library="/engine.so",
        memory_limit_bytes=400 * MIB,
    )


class Kernel:
    """A group as the kernel shows it, in an ordinary folder."""

    def __init__(self, root: Path, procs: str, controllers: str = "cpuset cpu io memory pids") -> None:
        self.root = root
        self.unit = root / "system.slice" / "amda-sessions.service"
        self.unit.mkdir(parents=True)
        self.fill(self.unit, procs, controllers)
        self.own = root / "own"
        self.own.write_text("4:memory:/old\n0::/system.slice/amda-sessions.service\n")
        self.mounts = root / "mounts"
        self.mounts.write_text(
            "25 30 0:23 / /sys rw - sysfs sysfs rw\n"
            f"41 31 0:38 / {root} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
        )

    def fill(self, folder: Path, procs: str, controllers: str = "") -> None:
        (folder / "cgroup.procs").write_text(procs)
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.subtree_control").write_text("")

    def find(self) -> Cgroups | None:
        return find_cgroups(self.own, self.mounts)


def test_a_delegated_group_is_ours(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, f"{os.getpid()}\n")
    assert own_folder(kernel.own, kernel.mounts) == kernel.unit
    found = kernel.find()
    assert found is not None
    assert found.controllers == ("memory", "pids", "cpu")


def test_a_group_with_others_in_it_is_not(tmp_path: Path) -> None:
    assert Kernel(tmp_path, f"1\n{os.getpid()}\n").find() is None


def test_a_group_without_controllers_is_of_no_use(tmp_path: Path) -> None:
    assert Kernel(tmp_path, f"{os.getpid()}\n", controllers="hugetlb").find() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_group_that_was_not_delegated_is_not_ours(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, f"{os.getpid()}\n")
    (kernel.unit / "cgroup.subtree_control").chmod(0o444)
    assert kernel.find() is None


def test_the_next_release_finds_what_the_one_before_has_made(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "")
    leaf = kernel.unit / LEAF
    leaf.mkdir()
    kernel.fill(leaf, f"{os.getpid()}\n")
    kernel.own.write_text(f"0::/system.slice/amda-sessions.service/{LEAF}\n")
    assert kernel.find() is not None


@pytest.mark.parametrize("own", ["", "4:memory:/old\n", "0::/elsewhere\n"])
def test_no_group_of_version_two_means_none(tmp_path: Path, own: str) -> None:
    kernel = Kernel(tmp_path, f"{os.getpid()}\n")
    kernel.own.write_text(own)
    assert kernel.find() is None
    assert find_cgroups(kernel.own, tmp_path / "missing") is None


def test_we_move_into_a_leaf_and_pass_the_controllers_on(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, f"{os.getpid()}\n")
    (kernel.unit / LEAF).mkdir()
    kernel.fill(kernel.unit / LEAF, "")
    found = kernel.find()
    assert found is not None
    found.prepare()
    assert (kernel.unit / LEAF / "cgroup.procs").read_text() == str(os.getpid())
    assert (kernel.unit / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_a_worker_gets_its_limits_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, str] = {}
    monkeypatch.setattr("appliance.forkserver.cgroups._write", lambda path, text: written.__setitem__(path.name, text))
    groups = Cgroups(tmp_path, ("memory", "pids", "cpu"))
    groups.enter(spec(tmp_path))
    assert written == {
        "memory.max": str(500 * MIB),
        "memory.oom.group": "1",
        "pids.max": str(MAX_TASKS),
        "cpu.weight": str(CPU_WEIGHT),
        "cgroup.procs": str(os.getpid()),
    }
    assert list(written)[-1] == "cgroup.procs"
    group = tmp_path / f"worker-{os.getpid()}"
    assert group.is_dir()
    assert not groups.leave(os.getpid())
    assert not group.exists()


def test_the_kernels_word_on_why_a_worker_died_is_heard(tmp_path: Path) -> None:
    group = tmp_path / "worker-77"
    group.mkdir()
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert Cgroups(tmp_path, ("memory",)).leave(77)
    assert not Cgroups(tmp_path, ("memory",)).leave(78)


def test_a_process_really_moves(tmp_path: Path) -> None:
    """With a kernel that lets us: groups without any controller, so that nothing of this machine changes."""
    folder = own_folder(Path("/proc/self/cgroup"), Path("/proc/self/mountinfo"))
    base = None if folder is None else folder / f"amda-test-{os.getpid()}"
    try:
        if base is None:
            pytest.skip("no cgroup2 here")
        base.mkdir()
    except OSError as error:
        pytest.skip(f"not allowed here: {error.strerror}")
    groups = Cgroups(base, ())
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            groups.enter(spec(tmp_path))
            path = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
            status = 0 if path.endswith(f"/worker-{os.getpid()}") else 2
        finally:
            os._exit(status)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert not groups.leave(pid)
        assert not (base / f"worker-{pid}").exists()
    finally:
        base.rmdir()
