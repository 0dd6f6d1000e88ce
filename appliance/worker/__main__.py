"""`python -m appliance.worker < spec.json`: one worker without a fork server, for tests and for looking into a fault.

Its log goes to standard error. It costs three times the memory of a forked one.
"""

from __future__ import annotations

import sys
import traceback
from typing import Final

import msgspec

from appliance.protocol import WorkerExit, WorkerSpec
from appliance.worker.main import exit_with, run

EXIT_CRASHED: Final = 70
"""EX_SOFTWARE of sysexits.h, as the fork server's children use it."""


def main() -> None:
    """Read the specification from standard input and be that worker; never returns."""
    try:
        spec = msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerSpec)
    except msgspec.DecodeError as error:
        sys.stderr.write(f"the worker's specification cannot be read: {error}\n")
        exit_with(WorkerExit.BAD_SPEC)
    status = EXIT_CRASHED
    try:
        status = run(spec)
    except Exception:
        traceback.print_exc()
    exit_with(status)


if __name__ == "__main__":
    main()
