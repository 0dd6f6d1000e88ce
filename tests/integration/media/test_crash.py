"""kill -9 at any moment, in the middle of uploads and deletions: afterwards index and store say the same."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.media.s3 import S3Store
from appliance.minio_server import MinioServer
from tests.integration.media.conftest import place
from tests.integration.media.crash_child import QUOTA
from tests.unit.media.vault_rig import VaultRig

KILLS = 15
CHILD = Path(__file__).with_name("crash_child.py")


async def _kill_again_and_again(folder: Path, arguments: list[str], rng: random.Random) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(CHILD), str(folder), str(rng.randrange(1000)), *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for _ in range(KILLS):
        process.stdin.write(b"go\n")
        async with asyncio.timeout(30):
            pid = int(await process.stdout.readline())
            await asyncio.sleep(rng.uniform(0, 0.3))  # the moment is what is tried, nothing is waited for
            os.kill(pid, signal.SIGKILL)
            assert await process.stdout.readline() == b"ended\n"
    process.stdin.close()
    await process.wait()


async def _books_agree(rig: VaultRig) -> None:
    """As the next daemon finds it, then as it leaves it."""
    held = [found async for found in rig.store.list_objects()]
    assert sum(found.size for found in held) <= QUOTA
    await rig.bus.load()
    await rig.vault.load()
    assert rig.vault.used >= sum(found.size for found in held), "whatever may lie there counts"
    await rig.vault.clear_up()
    found = await rig.auditor.measure()
    assert (found.missing, found.damaged, found.strays, found.foreign_objects) == ([], [], {}, 0)
    assert (await rig.store.clear_leftovers()).count == 0
    assert rig.vault.used == found.size
    report = await rig.auditor.check(repair=False, hashes=True, progress=lambda _done: None)
    assert (report.damaged, report.missing) == (0, 0)
    assert report.objects > 0
    rows = await rig.database.fetch_all(
        "SELECT key FROM objects WHERE refs <> (SELECT count(*) FROM media WHERE media.key = objects.key) OR refs = 0"
    )
    assert rows == []


@pytest.mark.parametrize("seed", [1, 2])
async def test_folder(tmp_path: Path, seed: int) -> None:
    await _kill_again_and_again(tmp_path, [], random.Random(seed))
    database = await Database.open(tmp_path / "amda.db")
    await _books_agree(VaultRig(tmp_path, database, quota_bytes=QUOTA))
    await database.close()


@pytest.mark.minio
async def test_s3(tmp_path: Path, minio: MinioServer, s3: S3Store) -> None:
    bucket = place(minio, s3._place.bucket)
    arguments = [bucket.endpoint, bucket.bucket, str(minio.credentials_file)]
    await _kill_again_and_again(tmp_path, arguments, random.Random(3))
    database = await Database.open(tmp_path / "amda.db")
    await _books_agree(VaultRig(tmp_path, database, s3, quota_bytes=QUOTA))
    await database.close()
