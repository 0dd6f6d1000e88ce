"""What Linux knows about a process and Python does not say: its parent's death, its memory, who it really is."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final, NamedTuple

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_NO_NEW_PRIVS: Final = 38
"""Options of prctl(2), from linux/prctl.h."""
NAME_BYTES: Final = 15
"""The kernel keeps that much of a process's name."""

_START_FIELD: Final = 22
"""`starttime` in proc_pid_stat(5), counted from 1."""
_FIRST_AFTER_NAME: Final = 3
"""The field after the name in parentheses, which may itself hold spaces and parentheses."""
_PARENT_FIELD: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)


class ProcessId(NamedTuple):
    """A process for good: the number alone is given to another one sooner or later."""

    pid: int
    start_ticks: int
    """Start in clock ticks since boot."""


def prctl(option: int, argument: int | bytes) -> None:
    """One prctl(2) call with one argument. Raises OSError."""
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    unused = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), value, unused, unused, unused) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}): {os.strerror(ctypes.get_errno())}")


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send us `number` when the parent's *thread* that made us ends.

    `parent` is the process that we expect to have: if it died before this call, no signal will ever come, and
    ProcessLookupError is raised instead.
    """
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        raise ProcessLookupError(f"the parent process {parent} has ended")


def set_name(name: str) -> None:
    """Show `name` (cut to 15 bytes) in ps and top."""
    prctl(PR_SET_NAME, name.encode()[:NAME_BYTES])


def pss_bytes(pid: int | None = None) -> int:
    """Memory of a process (default: this one), shared pages divided among those who share them, in bytes.

    Raises OSError if the process is gone or belongs to somebody else.
    """
    rollup = Path("/proc", "self" if pid is None else str(pid), "smaps_rollup").read_text("ascii")
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has no memory any more")


def identify(pid: int) -> ProcessId:
    """The process behind a number now. Raises ProcessLookupError if there is none."""
    return ProcessId(pid, int(_stat_field(pid, _START_FIELD)))


def is_running(process: ProcessId) -> bool:
    """Whether it is still there and not just waiting to be reaped."""
    try:
        return identify(process.pid) == process and _stat_field(process.pid, _FIRST_AFTER_NAME) not in ("Z", "X")
    except ProcessLookupError:
        return False


def parent_of(pid: int) -> int:
    """The parent's number, 0 for none. Raises ProcessLookupError."""
    return int(_stat_field(pid, _PARENT_FIELD))


def descends_from(pid: int, ancestor: int) -> bool:
    """Whether `ancestor` made `pid`, directly or over others that still live."""
    try:
        while pid > 1:
            pid = parent_of(pid)
            if pid == ancestor:
                return True
    except ProcessLookupError:
        return False
    return False


def children_of(pid: int) -> list[int]:
    """Its direct children, zombies included. Empty if the process is gone."""
    children: list[int] = []
    try:
        for task in Path("/proc", str(pid), "task").iterdir():
            children += map(int, (task / "children").read_text("ascii").split())
    except (FileNotFoundError, ProcessLookupError):
        return []
    return children


def thread_count() -> int:
    """Threads of this process, those of C and Go included."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def _stat_field(pid: int, number: int) -> str:
    try:
        stat = Path("/proc", str(pid), "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(f"there is no process {pid}") from error
    return stat.rpartition(")")[2].split()[number - _FIRST_AFTER_NAME]
