"""A control group for each worker, where systemd has delegated ours to us: the kernel then keeps one from the others.

Without delegation (`amda run` in a terminal, a container) there are none, and what a worker's own limits and the
watchdogs do must suffice; the log says which it is. Control groups version 2 only: kernel.org, cgroup-v2.rst.

Processes may only be in groups without groups below them that distribute resources, so we move into a leaf first.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from appliance.forkserver.log import log
from appliance.protocol import WorkerSpec

CONTROLLERS: Final = ("memory", "pids", "cpu")
LEAF: Final = "forkserver"
"""Our own place; the workers' are beside it."""
PREFIX: Final = "worker-"
MEMORY_HEADROOM: Final = 1.25
"""Above the worker's own limit, at which it ends by itself and says why: the kernel only kills."""
CPU_WEIGHT: Final = 50
"""Half of the default, which the fork server has: it must fork and reap while all of its workers spin."""
MAX_TASKS: Final = 512
"""A worker has about 20 threads, with every call into the engine hanging some 40."""
_OWN: Final = Path("/proc/self/cgroup")
_MOUNTS: Final = Path("/proc/self/mountinfo")


class Cgroups:
    """The groups below `folder`. `prepare` once; `enter` in each child; `leave` when it was reaped."""

    def __init__(self, folder: Path, controllers: tuple[str, ...]) -> None:
        self._folder = folder
        self._controllers = controllers

    @property
    def controllers(self) -> tuple[str, ...]:
        """What can be limited."""
        return self._controllers

    def prepare(self) -> None:
        """Move into our leaf, and let the groups below have limits. Raises OSError."""
        leaf = self._folder / LEAF
        leaf.mkdir(exist_ok=True)
        _write(leaf / "cgroup.procs", str(os.getpid()))
        _write(self._folder / "cgroup.subtree_control", " ".join(f"+{name}" for name in self._controllers))
        for left in self._folder.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):  # the workers of the release before live in theirs
                left.rmdir()

    def enter(self, spec: WorkerSpec) -> None:
        """In the child, before anything of the worker: make its group and go there. Raises OSError."""
        group = self._folder / f"{PREFIX}{os.getpid()}"
        group.mkdir()
        limits = {
            "memory": {"memory.max": int(spec.memory_limit_bytes * MEMORY_HEADROOM), "memory.oom.group": 1},
            "pids": {"pids.max": MAX_TASKS},
            "cpu": {"cpu.weight": CPU_WEIGHT},
        }
        for controller in self._controllers:
            for name, value in limits[controller].items():
                _write(group / name, str(value))
        _write(group / "cgroup.procs", str(os.getpid()))

    def leave(self, pid: int) -> bool:
        """The child was reaped: remove its group. Whether the kernel had killed it for memory."""
        group = self._folder / f"{PREFIX}{pid}"
        killed = False
        with contextlib.suppress(OSError):
            events = dict(line.split() for line in (group / "memory.events").read_text("ascii").splitlines())
            killed = int(events.get("oom_kill", "0")) > 0
        with contextlib.suppress(OSError):
            group.rmdir()
        return killed


def find_cgroups(own: Path = _OWN, mounts: Path = _MOUNTS) -> Cgroups | None:
    """Our group, if it was delegated to us and nobody else is in it; None otherwise."""
    folder = own_folder(own, mounts)
    if folder is None:
        return None
    if folder.name == LEAF:  # moved there by the release before, or by systemd (DelegateSubgroup)
        folder = folder.parent
    elif not _alone(folder):
        return None
    wanted = [folder / name for name in ("", "cgroup.procs", "cgroup.subtree_control")]
    if not all(os.access(path, os.W_OK) for path in wanted):
        return None
    try:
        offered = (folder / "cgroup.controllers").read_text("ascii").split()
    except OSError:
        return None
    controllers = tuple(name for name in CONTROLLERS if name in offered)
    return Cgroups(folder, controllers) if controllers else None


def ready_cgroups() -> Cgroups | None:
    """As `find_cgroups`, prepared; what cannot be used is told and done without."""
    cgroups = find_cgroups()
    if cgroups is None:
        log("no control groups: limits are the workers' own and the watchdogs'")
        return None
    try:
        cgroups.prepare()
    except OSError as error:
        log("control groups cannot be used", reason=error.strerror or str(error))
        return None
    log("each worker has a control group", controllers=" ".join(cgroups.controllers))
    return cgroups


def own_folder(own: Path, mounts: Path) -> Path | None:
    """Where the kernel shows our group of version 2; None where there is none."""
    path = next((line[3:] for line in _lines(own) if line.startswith("0::")), None)
    for line in _lines(mounts):
        fields, _, kind = line.partition(" - ")
        if path is not None and kind.split(" ", 1)[0] == "cgroup2":
            root, mount = fields.split()[3:5]
            below = Path(path).relative_to(root) if Path(path).is_relative_to(root) else None
            return None if below is None else Path(mount) / below
    return None


def _alone(folder: Path) -> bool:
    return _lines(folder / "cgroup.procs") == [str(os.getpid())]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _write(path: Path, text: str) -> None:
    """One write(2): the kernel takes or refuses it as a whole."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
