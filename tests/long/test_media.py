"""The burst of statuses in full size, in peace and with everything that can be away meanwhile."""

from __future__ import annotations

import os

import msgspec
import pytest

from appliance.bench import media
from appliance.bench.media_choices import Disturbance, MediaStore


async def passed(**how: object) -> None:
    result = await media.run(sessions=60, items=20, **how)  # type: ignore[arg-type]
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()


@pytest.mark.timeout(600)
async def test_folder() -> None:
    await passed()


@pytest.mark.minio
@pytest.mark.timeout(900)
@pytest.mark.parametrize("disturbance", [Disturbance.NONE, Disturbance.S3_STOP, Disturbance.DAEMON_KILLS])
async def test_s3(disturbance: Disturbance) -> None:
    await passed(store=MediaStore.S3, disturbance=disturbance)


@pytest.mark.minio
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="a file system and a control group of its own need root")
async def test_s3_on_a_disk_that_fills_up() -> None:
    await passed(store=MediaStore.S3, disturbance=Disturbance.DISK_FULL)
