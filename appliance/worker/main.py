"""From a forked process to a worker and to its exit status: the ordered start list."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from appliance.protocol import WorkerExit, WorkerSpec
from appliance.sockets import PeerError
from appliance.wallclock import staging_clock
from appliance.worker import misbehaviour
from appliance.worker.commands import open_stacks
from appliance.worker.engine.admission import EngineRefusedError, admit
from appliance.worker.engine.lazy import EngineMissingError, open_library
from appliance.worker.engine.relocations import SharedTables
from appliance.worker.log import WorkerLog
from appliance.worker.sandbox import SandboxError, seal
from appliance.worker.sandbox import apply as apply_sandbox
from appliance.worker.session import Worker
from appliance.worker.store import CaptureStore, StoreBrokenError, StoreLock, StoreLockedError, SupersededError


def run(spec: WorkerSpec, tables: SharedTables | None = None) -> int:
    """Be the worker that `spec` describes; the exit status (a `WorkerExit`). `tables`: what workers of one fork server
    share of the engine.

    Called once in a process that has a single thread. The caller ends the process with `os._exit`: threads that hang in
    the engine would hold up an ordinary exit.
    """
    folder = Path(spec.store_folder)
    log = WorkerLog(folder)
    lock = StoreLock(folder)
    clock = staging_clock(os.environ) if spec.staging else time.time  # its file lies outside the sandbox
    store = CaptureStore(folder, clock)
    try:
        sandbox = apply_sandbox(spec)  # before any thread
        lock.acquire()  # before anything in the store is touched
        store.open(spec.generation)
        admit(spec)  # before any of the engine's code runs
        library = open_library(spec.engine_library)
    except Exception as error:
        status = _status_of(error)
        if status is None:
            raise
        log.write("ERROR", str(error))
        return status
    faulthandler.register(signal.SIGUSR1, file=open_stacks(folder), all_threads=True)
    log.write(
        "INFO", f"worker of generation {spec.generation} ({spec.mode}), engine {library.version}, sandbox: {sandbox}"
    )
    if tables is not None:
        _share(tables, Path(spec.engine_library), log)
    try:
        worker = Worker(spec=spec, library=library, store=store, log=log, sandbox=sandbox, seal=seal, clock=clock)
        return asyncio.run(_serve(worker, staging=spec.staging))
    except PeerError as error:
        log.write("ERROR", str(error))
        return WorkerExit.STORE_BROKEN
    finally:
        store.close()
        lock.release()


def _share(tables: SharedTables, library: Path, log: WorkerLog) -> None:
    """A worker that cannot share is a heavier one, and no worse."""
    try:
        if not tables.share(library):
            log.write("INFO", "the engine's tables differ from those of the other workers and are not shared")
    except (OSError, ValueError) as error:
        log.write("WARN", f"the engine's tables are not shared: {error}")


def _status_of(error: Exception) -> WorkerExit | None:
    match error:
        case SandboxError():
            return WorkerExit.SANDBOX_FAILED
        case StoreLockedError():
            return WorkerExit.STORE_LOCKED
        case SupersededError():
            return WorkerExit.SUPERSEDED
        case StoreBrokenError() | OSError():
            return WorkerExit.STORE_BROKEN
        case EngineRefusedError() | EngineMissingError():
            return WorkerExit.ENGINE_REFUSED
    return None


async def _serve(worker: Worker, *, staging: bool) -> WorkerExit:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.end, WorkerExit.STOPPED)
    if staging:
        misbehaviour.listen(loop)
    return await worker.run()


def exit_with(status: int) -> NoReturn:
    """End the process without waiting for threads that hang in the engine."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
