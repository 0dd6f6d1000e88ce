"""`python -m appliance.forkserver --socket PATH`: the process whose children are the workers."""

from __future__ import annotations

import argparse
import functools
import gc
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final

from appliance import __version__
from appliance.forkserver.cgroups import ready_cgroups
from appliance.forkserver.child import Loaded
from appliance.forkserver.environment import missing_from
from appliance.forkserver.log import log
from appliance.forkserver.registry import STOP_GRACE_S, Registry
from appliance.forkserver.server import ForkServer
from appliance.forkserver.shared_memory import freeze
from appliance.forkserver.successor import HandoverError, command, take_over
from appliance.notify import ServiceManager
from appliance.processes import thread_count
from appliance.sockets import PeerError, bind_unix
from appliance.wallclock import staging_clock

EXIT_FAILED: Final = 1


def load_worker() -> Loaded:
    """Import all that a worker needs, except the engine's library; returns what runs one."""
    from appliance.worker.engine import lazy

    lazy.preload()
    from appliance.worker.engine.relocations import create
    from appliance.worker.main import run

    tables = create()
    return Loaded(functools.partial(run, tables=tables), keep=frozenset({tables.fd}))


def main(
    arguments: Sequence[str] | None = None,
    load: Callable[[], Loaded] = load_worker,
    release: str = __version__,
) -> int:
    """Run the fork server; returns its exit status. Errors of start are one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m appliance.forkserver", description=__doc__)
    parser.add_argument("--socket", metavar="PATH", help="unix socket on which the daemon gives its orders")
    parser.add_argument("--check", action="store_true", help="only try whether everything can be loaded")
    parser.add_argument("--resume", metavar="FD", type=int, help="go on from a former release's state (internal)")
    parser.add_argument(
        "--stop-grace",
        metavar="SECONDS",
        type=float,
        default=STOP_GRACE_S,
        help="how long workers may take to say goodbye at SIGTERM (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if not options.check and not options.socket:
        parser.error("--socket PATH is required")
    if not options.check and (missing := missing_from(os.environ)):
        own = sys.argv[1:] if arguments is None else list(arguments)
        os.execve(sys.executable, command(sys.executable, *own), {**os.environ, **missing})  # noqa: S606
    gc.disable()  # a collection would make holes between what is shared; each child enables it again for itself
    loaded = load()
    if (threads := thread_count()) != 1:
        return _fail(f"something started a thread ({threads} run): the children would hang")
    if options.check:
        sys.stdout.write(f"{release}\n")
        return 0
    try:
        listener, registry = _resume(options.resume) if options.resume is not None else _start(options.socket)
    except (PeerError, HandoverError, OSError) as error:
        return _fail(str(error))
    server = ForkServer(
        listener=listener,
        socket_path=options.socket,
        registry=registry,
        loaded=loaded,
        release=release,
        stop_grace_s=options.stop_grace,
        clock=staging_clock(os.environ),
        cgroups=ready_cgroups(),
    )
    ServiceManager(os.environ).ready()
    freeze()
    return server.serve()


def _start(path: str) -> tuple[socket.socket, Registry]:
    return bind_unix(path), Registry()


def _resume(fd: int) -> tuple[socket.socket, Registry]:
    handover = take_over(fd)
    return socket.socket(fileno=handover.listener), Registry(handover.workers, handover.exits)


def _fail(reason: str) -> int:
    log("fork server cannot start", reason=reason)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
