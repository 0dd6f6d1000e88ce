"""Stores, pins, deletes and prunes for ever, until it is killed: one process per line on standard input.

    python crash_child.py FOLDER SEED [ENDPOINT BUCKET CREDENTIALS]

Everything is imported before the fork, so that a round costs milliseconds. Each child tells its pid once it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
sys.modules["tests"] = types.ModuleType("tests")  # a library has left a package of that name among the installed ones
sys.modules["tests"].__path__ = [str(ROOT / "tests")]

import structlog

from appliance.database import Database
from appliance.media.s3 import S3Store
from appliance.media.s3_settings import S3Place, read_credentials
from appliance.media.store import ObjectStore
from tests.unit.media.vault_chance import Chance
from tests.unit.media.vault_rig import VaultRig

QUOTA = 5 << 20


def store_of(arguments: list[str]) -> ObjectStore | None:
    """None: the folder."""
    if not arguments:
        return None
    endpoint, bucket, credentials = arguments
    place = S3Place(endpoint=endpoint, bucket=bucket, region="us-east-1", path_style=True, ca_file=None)
    return S3Store(place, lambda: read_credentials(Path(credentials)))


async def work(folder: Path, seed: int, arguments: list[str]) -> None:
    database = await Database.open(folder / "amda.db")
    rig = VaultRig(folder, database, store_of(arguments), quota_bytes=QUOTA)
    rig.store.quota = sys.maxsize  # the watcher knows only this process's part; the books are compared afterwards
    rig.now += seed * 10_000
    await rig.bus.load()
    await rig.vault.load()
    await rig.vault.clear_up()
    chance = Chance(rig, seed)
    os.write(1, b"%d\n" % os.getpid())
    while True:
        with contextlib.suppress(KeyError):
            await asyncio.gather(*(chance.rng.choice(chance.steps)() for _ in range(3)))


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the other is ours
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    for _ in sys.stdin:
        seed += 1
        pid = os.fork()
        if pid == 0:
            asyncio.run(work(folder, seed, sys.argv[3:]))
        os.waitpid(pid, 0)
        os.write(1, b"ended\n")


if __name__ == "__main__":
    main()
