"""`python -m appliance.staging --folder DIR`: run a staging network until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

from appliance.logging import configure_logging
from appliance.staging.errors import StagingError
from appliance.staging.network import Network


async def run(folder: Path, engine_library: Path | None) -> None:
    """Run the network in `folder` until it is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    network = Network(folder, engine_library)
    await network.start()
    try:
        await stop.wait()
    finally:
        await network.stop()


def serve(folder: Path, engine_library: Path | None) -> int:
    """Run the network in this process; the exit status, after one line on standard error if it is not 0."""
    configure_logging("info")
    try:
        asyncio.run(run(folder.absolute(), engine_library))
    except (StagingError, OSError, sqlite3.Error) as error:
        print(f"staging network: {error}", file=sys.stderr)  # noqa: T201 - a command's one line of error
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.staging", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the network keeps its state")
    parser.add_argument("--engine-library", type=Path, help="the engine library to copy; default: the installed one")
    arguments = parser.parse_args()
    return serve(arguments.folder, arguments.engine_library)


if __name__ == "__main__":
    sys.exit(main())
