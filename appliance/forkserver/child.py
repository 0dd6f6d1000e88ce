"""From fork to worker: the few steps in the new process before the worker's own code."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from appliance.forkserver.cgroups import Cgroups
from appliance.processes import die_with_parent, set_name
from appliance.protocol import WorkerSpec

HANDLED: Final = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that the fork server handles; blocked around a fork and an exec, so that none falls between two handlers."""
EXIT_CRASHED: Final = 70
"""EX_SOFTWARE of sysexits.h: the worker's code raised, before or after its own start; the traceback is in its log."""
LOG_NAME: Final = "worker.log"
MAX_LOG_BYTES: Final = 1 << 20
"""A longer log of former workers is moved aside, so that a store holds two of them at most."""
_FIRST_OWN_FD: Final = 3


class Loaded(NamedTuple):
    """What the fork server holds for its children."""

    run_worker: Callable[[WorkerSpec], int]
    """Runs one worker in its own process; returns its exit status."""
    keep: frozenset[int] = frozenset()
    """Descriptors that a worker inherits."""


def become_worker(
    spec: WorkerSpec,
    parent: int,
    close_inherited: Callable[[], None],
    loaded: Loaded,
    cgroups: Cgroups | None,
) -> NoReturn:
    """Runs in the child, right after the fork with `HANDLED` blocked; never returns into the fork server's code."""
    code = EXIT_CRASHED
    try:
        die_with_parent(parent)
        _reset_signals()
        close_inherited()
        _close_the_rest(loaded.keep)
        os.setsid()  # a Ctrl-C in the fork server's terminal is not for the workers; the scheduler groups by session
        _redirect(Path(spec.store_folder))
        set_name(f"amda {spec.session}")
        if cgroups is not None:
            _enter(cgroups, spec)
        gc.enable()
        code = loaded.run_worker(spec)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):  # a full disk; the exit status is what counts now
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _enter(cgroups: Cgroups, spec: WorkerSpec) -> None:
    """A worker that the kernel cannot limit has its own limits still, so it is told and goes on."""
    try:
        cgroups.enter(spec)
    except OSError as error:
        sys.stderr.write(f"no control group: {error}\n")


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _close_the_rest(keep: frozenset[int]) -> None:
    """Whatever the fork server still holds: a worker must not keep its sockets or another's log alive."""
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if fd >= _FIRST_OWN_FD and fd not in keep:
            with contextlib.suppress(OSError):  # the one that listed the folder
                os.close(fd)


def _redirect(store: Path) -> None:
    """Standard input is empty; output goes to the store's log, whose place is no secret but whose content may be."""
    log = store / LOG_NAME
    with contextlib.suppress(FileNotFoundError):
        if log.lstat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)
