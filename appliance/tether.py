"""Runs a program that must not outlive whoever started it: `python tether.py PARENT PROGRAM ARGUMENT…`.

A function between fork and exec (`preexec_fn`) is unsafe in a process with threads, so this small program asks the
kernel for a SIGKILL at its parent's death and then becomes the real one; the request survives the exec. It is run by
path with `-I -S` and so imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2), from linux/prctl.h."""
EXIT_ORPHANED = 75
"""EX_TEMPFAIL of sysexits.h: the parent ended before it could be watched."""
EXIT_NOT_RUN = 127
"""As a shell says that a program cannot be run."""


def main() -> None:
    """Never returns."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(EXIT_ORPHANED)
    try:
        os.execvp(program[0], program)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"{program[0]} cannot be run: {error.strerror}\n")
        sys.exit(EXIT_NOT_RUN)


if __name__ == "__main__":
    main()
