"""Shuts a worker in before it opens the engine: whoever takes over one account must not reach the other fifty-nine.

Landlock (Linux 5.13) confines it to its session's folder plus code and certificates; it needs no privilege. It binds
the calling thread and those that it starts later, so `apply` comes before any thread exists. What the kernel lacks is
named in the result, which the worker's hello carries, so that a weaker sandbox is seen and not assumed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
import struct
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

import appliance
from appliance.processes import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl, thread_count
from appliance.protocol import WorkerSpec

FULL: Final = "full"
"""Result of `apply` when nothing is missing."""

OOM_SCORE_ADJ: Final = 500
"""Half of what the kernel allows: a worker dies before Redis or the daemon, whose score nobody raises."""
NICENESS: Final = 5
"""Below the daemon, so that it can still judge while a worker spins."""
OPEN_FILES: Final = 1024
"""An idle worker has about 30 open; a leak is to hit the worker itself."""
USER_PROCESSES: Final = 8192
"""The kernel counts the threads of *all* processes of the user: two hundred workers have about 4000."""
DATA_HEADROOM_BYTES: Final = 1 << 30
"""RLIMIT_DATA counts what is reserved, not what is used: Go takes 64 MiB arenas and each thread 8 MiB of stack. It is
the last resort against a leak; the exact limit is the watchdog's, who looks at the PSS."""

# linux/landlock.h
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR = 1 << 4, 1 << 5, 1 << 6, 1 << 7
_MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_VERSION_RIGHTS: Final = (1 << 13) - 1
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1 << 0, 1 << 1
_CREATE_RULESET_VERSION: Final = 1 << 0
_RULE_PATH_BENEATH: Final = 1
_SYS_CREATE_RULESET, _SYS_ADD_RULE, _SYS_RESTRICT_SELF = 444, 445, 446
"""The same numbers on every architecture."""
_ABI_REFER, _ABI_TRUNCATE, _ABI_NET, _ABI_IOCTL, _ABI_SCOPE = 2, 3, 4, 5, 6

_FILE_RIGHTS: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""The rights that a rule on something else than a folder may name."""
_READ: Final = _READ_FILE | _READ_DIR
_READ_EXECUTE: Final = _READ | _EXECUTE
_DEVICE: Final = _READ_FILE | _WRITE_FILE
_OWN: Final = _READ | _WRITE_FILE | _TRUNCATE | _MAKE_REG | _MAKE_DIR | _MAKE_SOCK | _REMOVE_FILE | _REMOVE_DIR | _REFER
"""No programs, devices or pipes, and no symbolic links: the daemon reads what a worker leaves behind."""

_SYSTEM_CODE: Final = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_SYSTEM_DATA: Final = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/run/systemd/resolve",
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/filesystems",
    "/proc/sys/net/core/somaxconn",
    "/proc/sys/kernel/random",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
)
"""What glibc, Go, OpenSSL and libmagic read. A rule holds the file itself: when a tool puts a new /etc/resolv.conf in
its place, a running worker does not see it and gets the new one at its next start."""
_PINNED: Final = "/proc/"
"""Rules hold inodes, and procfs makes new ones when memory pressure drops a name: these stay open, to keep theirs."""
_SYSTEM_DEVICES: Final = ("/dev/null",)
_CERTIFICATE_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where Go and OpenSSL look for certificates if set."""

# linux/seccomp.h, linux/filter.h, linux/audit.h
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_RET_ALLOW, _RET_ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_FIRST_ARGUMENT = 0, 4, 16
_INSTRUCTION: Final = struct.Struct("HBBI")
_X32_BIT: Final = 0x40000000
_SYS_IO_URING_SETUP: Final = 425
_AF_UNIX: Final = 1


class _Machine(NamedTuple):
    """System call numbers of one architecture, and how seccomp calls it."""

    audit: int
    socket: int
    seccomp: int


_MACHINES: Final = {
    "x86_64": _Machine(audit=0xC000003E, socket=41, seccomp=317),
    "aarch64": _Machine(audit=0xC00000B7, socket=198, seccomp=277),
}

_libc = ctypes.CDLL(None, use_errno=True)


class SandboxError(Exception):
    """The worker must not run: the sandbox could not be made although the kernel has what it takes."""


def apply(spec: WorkerSpec) -> str:
    """Shut this process in for good. Returns FULL, or what the kernel lacks, for people to read.

    Changes the working folder to the store and has temporary files made there. Raises SandboxError if a thread exists
    already or if a folder of `spec` is missing.
    """
    if (threads := thread_count()) != 1:
        raise SandboxError(f"the sandbox comes before any thread, and there are {threads}")
    missing = _limit(spec)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _settle(spec)
    missing += _landlock(spec)
    return "; ".join(missing) or FULL


def seal(result: str) -> str:
    """Forbid every thread of this process to make another unix socket; to be called once the control socket listens.

    Landlock does not keep a process from connecting to the fork server, Redis or the API, whose files the same user
    owns: its rules on paths do not cover connect. `result` is that of `apply`; returned with what could not be done.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        problem = f"no list of system calls for {os.uname().machine}"
    else:
        program = _socket_filter(machine)
        header = struct.pack("HxxxxxxP", len(program) // _INSTRUCTION.size, ctypes.addressof(program))
        failed = _libc.syscall(ctypes.c_long(machine.seccomp), _SET_MODE_FILTER, _FLAG_TSYNC, header)
        if failed == 0:
            return result
        problem = f"thread {failed} cannot follow" if failed > 0 else os.strerror(ctypes.get_errno())
    told = f"the appliance's other sockets can be reached (seccomp: {problem})"
    return told if result == FULL else f"{result}; {told}"


def _socket_filter(machine: _Machine) -> ctypes.Array[ctypes.c_char]:
    """socket(AF_UNIX) fails with EACCES; other doors to it (foreign system call tables, io_uring) do not exist."""
    steps = [
        (_LOAD, 0, 0, _OFFSET_ARCHITECTURE),
        (_JUMP_EQUAL, 0, 6, machine.audit),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
        (_JUMP_GREATER_EQUAL, 4, 0, _X32_BIT),
        (_JUMP_EQUAL, 3, 0, _SYS_IO_URING_SETUP),
        (_JUMP_EQUAL, 0, 4, machine.socket),
        (_LOAD, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_JUMP_EQUAL, 1, 2, _AF_UNIX),
        (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS),
        (_RETURN, 0, 0, _RET_ERRNO | errno.EACCES),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    code = b"".join(_INSTRUCTION.pack(*step) for step in steps)
    return ctypes.create_string_buffer(code, len(code))


def _limit(spec: WorkerSpec) -> list[str]:
    """Bound what a runaway worker takes from the others. An already lower limit stays."""
    os.umask(0o077)
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS))
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_NPROC, USER_PROCESSES),
        (resource.RLIMIT_DATA, spec.memory_limit_bytes + DATA_HEADROOM_BYTES),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    score = Path("/proc/self/oom_score_adj")
    try:
        if int(score.read_text("ascii")) < OOM_SCORE_ADJ:
            score.write_text(str(OOM_SCORE_ADJ), "ascii")
    except OSError as error:
        return [f"no order of death when memory runs out (oom_score_adj: {error.strerror})"]
    return []


def _settle(spec: WorkerSpec) -> None:
    """Relative and temporary files go where they are allowed; SQLite asks SQLITE_TMPDIR, then the working folder."""
    store, session = Path(spec.store_folder), Path(spec.session_folder)
    for folder in (session, store):
        if not folder.is_absolute() or not folder.is_dir():
            raise SandboxError(f"{folder}: not an absolute path of an existing folder")
    if not store.resolve().is_relative_to(session.resolve()):
        raise SandboxError(f"{store}: the store does not lie in the session's folder {session}")
    os.chdir(store)
    for variable in ("TMPDIR", "SQLITE_TMPDIR"):
        os.environ[variable] = str(store)
    tempfile.tempdir = str(store)


def _landlock(spec: WorkerSpec) -> list[str]:
    abi = _libc.syscall(_SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION))
    if abi < 1:
        return [
            f"no Landlock in this kernel ({errno.errorcode.get(ctypes.get_errno(), 'unknown')}): files are not shut"
        ]
    handled = _FIRST_VERSION_RIGHTS
    handled |= _REFER if abi >= _ABI_REFER else 0
    handled |= _TRUNCATE if abi >= _ABI_TRUNCATE else 0
    handled |= _IOCTL_DEV if abi >= _ABI_IOCTL else 0
    ruleset = _create_ruleset(abi, handled)
    missing: list[str] = []
    try:
        _allow(ruleset, spec.session_folder, _OWN & handled)
        for path in _SYSTEM_DEVICES:
            _allow(ruleset, path, _DEVICE & handled)
        for path in (*_SYSTEM_DATA, *_certificates(), *spec.readable):
            _allow(ruleset, path, _READ & handled)
        for path in (*_SYSTEM_CODE, *_code(), spec.engine_library):
            _allow(ruleset, path, _READ_EXECUTE & handled)
        missing += _too_wide(spec, (*_SYSTEM_CODE, *_code(), *_SYSTEM_DATA, *_certificates(), *spec.readable))
        _call("landlock_restrict_self", _SYS_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    if abi < _ABI_TRUNCATE:
        missing.append("files elsewhere can be cut to nothing by their path (Linux 6.2 prevents it)")
    if abi < _ABI_SCOPE:
        missing.append("signals to other processes of the same user (Linux 6.12 prevents them)")
    return missing


def _create_ruleset(abi: int, handled: int) -> int:
    """`struct landlock_ruleset_attr`, as long as the kernel knows it: file rights, network rights, scopes."""
    fields = [handled]
    if abi >= _ABI_NET:
        fields.append(0)
    if abi >= _ABI_SCOPE:
        fields.append(_SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    return _call(
        "landlock_create_ruleset",
        _SYS_CREATE_RULESET,
        attributes,
        ctypes.c_size_t(len(attributes)),
        ctypes.c_uint32(0),
    )


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Add a rule for a path and what lies below it; a path that does not exist needs none."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, fd)
        _call(
            f"landlock_add_rule({path})",
            _SYS_ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_RULE_PATH_BENEATH),
            rule,
            ctypes.c_uint32(0),
        )
    finally:
        if not path.startswith(_PINNED):
            os.close(fd)


def _code() -> set[str]:
    """Interpreter, virtual environment, our own package: a checkout's other folders may hold the state."""
    package = Path(appliance.__file__).parent
    return {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, str(package)}


def _certificates() -> list[str]:
    return [value for name in _CERTIFICATE_VARIABLES for value in os.environ.get(name, "").split(":") if value]


def _too_wide(spec: WorkerSpec, readable: Iterable[str]) -> list[str]:
    """A readable folder around the state folder would let a worker read its neighbours: say so."""
    neighbours = Path(spec.session_folder).resolve().parent
    roots = sorted({root for path in readable if neighbours.is_relative_to(root := Path(path).resolve())})
    return [f"other sessions can be read, because the state folder lies in {root}" for root in map(str, roots)]


def _call(name: str, number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise SandboxError(f"{name}: {os.strerror(ctypes.get_errno())}")
    return result
