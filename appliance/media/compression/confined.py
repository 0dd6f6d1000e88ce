"""Runs a program that reads what strangers sent: with little priority, bounded, and not longer than its parent.

`python confined.py PARENT DATA_BYTES CPU_SECONDS FILE_BYTES PROGRAM ARGUMENT…` sets limits and becomes the program.
Like `tether.py` it is run by path with `-I -S`: a function between fork and exec is unsafe in a process with threads.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""prctl(2), from linux/prctl.h."""
PR_SET_NO_NEW_PRIVS = 38
LOW_PRIORITY = 10
"""A tenth of what an ordinary process gets of a busy core: never in the way, and done some day all the same."""
STACK_BYTES = 1 << 20
"""Of each thread; the default of 8 MiB would count against the limit of data sixteen times over."""
FIRST_TO_GO = "800"
"""oom_score_adj: should memory run out, a picture that stays as it came is the smallest loss."""
EXIT_ORPHANED = 75
EXIT_NOT_RUN = 127


def main() -> None:
    """Never returns."""
    parent, data, cpu, file = map(int, sys.argv[1:5])
    program = sys.argv[5:]
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(EXIT_ORPHANED)
    os.nice(LOW_PRIORITY)
    Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, "ascii")
    for kind, limit in (
        (resource.RLIMIT_DATA, data),
        (resource.RLIMIT_STACK, STACK_BYTES),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    try:
        os.execvp(program[0], program)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be run: {error.strerror}\n")
        sys.exit(EXIT_NOT_RUN)


if __name__ == "__main__":
    main()
