"""What the kernel has for the sessions' sandboxes and limits."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from typing import Final

from appliance.doctor.check import Check, Patient, Seen, in_thread, info, ok, unseen, warning

_SYS_LANDLOCK_CREATE_RULESET: Final = 444
_CREATE_RULESET_VERSION: Final = 1
"""linux/landlock.h; the number is the same on every architecture."""
TRUNCATE: Final = 3
SCOPES: Final = 6
"""Versions of Landlock that brought what a worker's sandbox uses: Linux 6.2 and 6.12."""
CONTROLLERS: Final = ("memory", "pids", "cpu")
SESSIONS_GROUP: Final = "/sys/fs/cgroup/system.slice/amda-sessions.service"
NEVER_OVERCOMMIT: Final = "2"
FEW_WATCHES: Final = 2048
"""Of inotify: some thirty for each session's spool folders and the daemon's own."""


def look(patient: Patient) -> list[Seen]:
    return [
        *_landlock(patient, landlock_version()),
        *_seccomp(patient),
        *_groups(patient),
        *_memory(patient),
        *_watches(patient),
    ]


def landlock_version() -> int:
    """0: none; -1: this process may not ask."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(
        ctypes.c_long(_SYS_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
    )
    if version >= 0:
        return int(version)
    return 0 if ctypes.get_errno() in (errno.ENOSYS, errno.EOPNOTSUPP) else -1


def _landlock(patient: Patient, version: int) -> Iterator[Seen]:
    release = os.uname().release
    looked_at = f"Landlock of Linux {release}"
    if version < 0:
        modules = patient.text("/sys/kernel/security/lsm").strip().split(",")
        if "landlock" in modules:
            yield ok("it is there; the daemon may not ask for its version", looked_at)
        else:
            yield unseen("this process may not ask for it", looked_at)
    elif version == 0:
        found = "there is none: a session that is taken over can read the others' files"
        yield warning(found, "Linux 5.13 or newer, with landlock among the security modules (lsm=)", looked_at)
    elif version < TRUNCATE:
        found = f"version {version}: files elsewhere can be cut to nothing by their path"
        yield warning(found, "Linux 6.2 or newer", looked_at)
    elif version < SCOPES:
        yield info(f"version {version}: sessions can send signals to each other", "Linux 6.12 prevents it.", looked_at)
    else:
        yield ok(f"version {version}: sessions are shut in as far as we know how", looked_at)


def _seccomp(patient: Patient) -> Iterator[Seen]:
    actions = patient.text("/proc/sys/kernel/seccomp/actions_avail").split()
    if not actions:
        yield unseen("the kernel does not say", "seccomp")
    elif "errno" not in actions:
        found = "system calls cannot be refused: sessions can reach the appliance's other sockets"
        yield warning(found, "A kernel with CONFIG_SECCOMP_FILTER", "seccomp")
    else:
        yield ok("filters of system calls work", "seccomp")


def _groups(patient: Patient) -> Iterator[Seen]:
    """Whether each session has limits that the kernel keeps: systemd has to delegate its control group."""
    looked_at = "control groups of the sessions"
    if "memory" not in patient.text("/sys/fs/cgroup/cgroup.controllers").split():
        found = "no control groups of version 2 with limits of memory: only a session's own limits hold"
        yield info(found, "systemd.unified_cgroup_hierarchy=1 on the kernel's command line", looked_at)
        return
    group = patient.at(SESSIONS_GROUP)
    if not group.is_dir():
        yield info("amda-sessions.service does not run here: sessions have only their own limits", "", looked_at)
        return
    given = patient.text(f"{SESSIONS_GROUP}/cgroup.subtree_control").split()
    missing = [name for name in CONTROLLERS if name not in given]
    if missing:
        found = f"the kernel does not limit {', '.join(missing)} of each session"
        yield warning(found, "Delegate=yes in amda-sessions.service; its log says why not", looked_at)
    else:
        yield ok("memory, processes and processor of each session are limited by the kernel", looked_at)


def _memory(patient: Patient) -> Iterator[Seen]:
    if patient.text("/proc/sys/vm/overcommit_memory").strip() == NEVER_OVERCOMMIT:
        found = "memory that is only reserved counts as used: sessions reserve much more than they use"
        yield warning(found, "sysctl vm.overcommit_memory=0", "vm.overcommit_memory")


def _watches(patient: Patient) -> Iterator[Seen]:
    watches = patient.text("/proc/sys/fs/inotify/max_user_watches").strip()
    if watches.isdigit() and int(watches) < FEW_WATCHES:
        found = f"{watches} watches for each user: captured media may be noticed only once a minute"
        yield warning(found, f"sysctl fs.inotify.max_user_watches={4 * FEW_WATCHES}", "fs.inotify.max_user_watches")


CHECK: Final = Check(
    "kernel", "kernel, and what sandboxes and limits need of it", in_thread(look), needs_settings=False
)
