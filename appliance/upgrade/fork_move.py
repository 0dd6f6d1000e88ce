"""`python -m appliance.upgrade.fork_move --socket … --python … --build …`: the fork server becomes another one.

A program of its own, because it must be run by the newer release of the two: that one understands the other's fork
server, not the other way round. It may be run again: a fork server that is there already is left alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.forkserver.client import ForkServerClient, ForkServerError

ANSWER_S: Final = 30.0
"""It answers at once; systemd starts one that has died again after a second."""


async def move(socket: Path, python: str, build: str, engine: str) -> str:
    """Returns what its children run then. Raises ForkServerError."""
    async with ForkServerClient(socket) as client:
        hello = await client.wait_connected(ANSWER_S)
        if hello.build != build:
            hello = await client.exec_in_place(python, engine=engine)
        if hello.build != build:
            raise ForkServerError(f"it became {hello.build}, not {build}")
        return hello.build


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.upgrade.fork_move", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    for name in ("--python", "--build"):
        parser.add_argument(name, required=True)
    parser.add_argument("--engine", default="")
    options = parser.parse_args(arguments)
    try:
        build = asyncio.run(move(options.socket, options.python, options.build, options.engine))
    except ForkServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{build}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
