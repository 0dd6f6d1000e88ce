"""Moving to another release in place: a trial in a child, then execve with the state in an inherited memory file."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Final, NoReturn

import msgspec

from appliance.build import ENGINE_VARIABLE
from appliance.forkserver.child import HANDLED
from appliance.forkserver.registry import Handover

CHECK_TIMEOUT_S: Final = 60.0
"""The trial imports everything once; on a busy small machine that takes seconds."""
MAX_REPORT_BYTES: Final = 4096
"""Of the trial's output the end is kept: the last line of a traceback is the reason."""
_READ_BYTES: Final = 1 << 16


class HandoverError(Exception):
    """The state that the former release left cannot be used."""


class Check:
    """`PYTHON -m appliance.forkserver --check` in a child: can that release be loaded at all?"""

    def __init__(self, python: str, deadline: float, engine: str | None = None) -> None:
        self.python = python
        self.engine = engine
        self.deadline: float | None = deadline
        """Monotonic time; None once it has been killed."""
        self._report = bytearray()
        self.pid = 0
        self.output = -1

    def start(self) -> None:
        """Raises OSError if there is no such program."""
        self.output, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            self.pid = os.posix_spawn(
                self.python,
                command(self.python, "--check"),
                environment_for(self.python, self.engine),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
                setsigmask=[],
                setsigdef=HANDLED,
            )
        except OSError:
            self.close()
            raise
        finally:
            os.close(writing)

    def read(self) -> bool:
        """Take what it has said; False at the end of it."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.output, _READ_BYTES):
                self._report += data
                del self._report[:-MAX_REPORT_BYTES]
            return False
        return True

    @property
    def reason(self) -> str:
        """The last thing that it said."""
        lines = self._report.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        if self.output >= 0:
            os.close(self.output)
            self.output = -1


def command(python: str, *arguments: str) -> list[str]:
    """The fork server's command line; `-P` keeps the working folder's code out of it."""
    return [python, "-P", "-m", "appliance.forkserver", *arguments]


def environment_for(python: str, engine: str | None = None) -> dict[str, str]:
    """Ours; but what points our interpreter to a checkout must not mislead another release's. `engine`: folder of an
    engine of its own; empty: the one that comes with that release; None: as now."""
    environment = dict(os.environ)
    if engine is not None:
        environment.pop(ENGINE_VARIABLE, None)
        environment |= {ENGINE_VARIABLE: engine} if engine else {}
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    return environment


def become(python: str, handover: Handover, engine: str | None = None) -> NoReturn:
    """Replace this process by another release's fork server. Signals stay blocked until it listens to them.

    Raises OSError if execve fails: then nothing has changed.
    """
    fd = os.memfd_create("amda-forkserver", 0)  # inherited, unlike every other descriptor
    try:
        os.write(fd, msgspec.json.encode(handover))
        os.set_inheritable(handover.listener, True)  # noqa: FBT003 (os has no keyword for it)
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        arguments = command(python, "--socket", handover.socket_path, "--resume", str(fd))
        arguments += ["--stop-grace", str(handover.stop_grace_s)]
        os.execve(python, arguments, environment_for(python, engine))  # noqa: S606 (no shell is wanted)
    except OSError:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        os.set_inheritable(handover.listener, False)  # noqa: FBT003
        raise
    finally:
        os.close(fd)


def take_over(fd: int) -> Handover:
    """What the former release left in the memory file. Raises HandoverError."""
    try:
        with os.fdopen(fd, "rb") as file:
            file.seek(0)
            handover = msgspec.json.decode(file.read(), type=Handover)
        os.set_inheritable(handover.listener, False)  # noqa: FBT003
    except (OSError, msgspec.DecodeError) as error:
        raise HandoverError(f"the state of the former fork server cannot be read: {error}") from error
    return handover
