"""The real fork server with a worker of the test's making: what it does is named by the session.

`python stand_in.py RELEASE --socket PATH`; a script that calls it is an interpreter for `ExecInPlace`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from appliance.forkserver.__main__ import main
from appliance.forkserver.child import Loaded
from appliance.processes import pss_bytes
from appliance.protocol import WorkerSpec


def run(spec: WorkerSpec) -> int:
    """Behave as the first word of the session's name says; tell by a file when that point is reached."""
    kind, _, rest = spec.session.partition("-")
    match kind:
        case "exit":
            return int(rest)
        case "raise":
            raise RuntimeError("the worker's own mistake")
        case "leave":
            sys.exit(int(rest))
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "polite":
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        case "where":
            report(spec)
        case "client":
            return become_client(rest)
    print("printed by the worker", flush=True)  # noqa: T201
    (Path(spec.store_folder) / "ready").write_text(str(os.getpid()), "ascii")
    while True:
        signal.pause()


def report(spec: WorkerSpec) -> None:
    """What a worker finds: its descriptors, its signals, its session, its share of memory."""
    fds = {fd.name: str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if os.path.lexists(fd)}
    status = Path("/proc/self/status").read_text("ascii")
    lines = [f"{name} {target}" for name, target in fds.items()]
    lines += [line for line in status.splitlines() if line.startswith(("SigBlk", "SigCgt", "Threads", "Name"))]
    lines += [f"sid {os.getsid(0)}", f"pss {pss_bytes()}"]
    (Path(spec.store_folder) / "report").write_text("\n".join(lines), "utf-8")


def become_client(folder: str) -> int:
    """A worker that was taken over tries to give orders; the status says what came of it."""
    from appliance.sockets import connect_unix

    with connect_unix(Path(os.environ["AMDA_TEST_SOCKETS"]) / folder) as sock:
        return 42 if b'"refused"' in sock.recv(1 << 16) else 0


def load() -> Loaded:
    """What the real one does by importing the engine's half."""
    if os.environ.get("AMDA_TEST_BROKEN") == RELEASE:
        raise ImportError("this release lacks a library")
    return Loaded(run)


if __name__ == "__main__":
    RELEASE, *arguments = sys.argv[1:]
    if arguments[:3] == ["-P", "-m", "appliance.forkserver"]:
        del arguments[:3]
    sys.exit(main(arguments, load, RELEASE))
