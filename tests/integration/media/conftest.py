"""A real MinIO server for the tests of a module, and a bucket of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.media.s3 import S3Store
from appliance.media.s3_settings import S3Place
from appliance.minio_server import MinioServer

_NUMBERS = itertools.count()


def place(server: MinioServer, bucket: str | None = None) -> S3Place:
    return S3Place(
        endpoint=server.endpoint,
        bucket=bucket or f"bucket-{next(_NUMBERS)}",
        region="us-east-1",
        path_style=True,
        ca_file=None,
    )


@pytest.fixture
async def minio(tmp_path: Path) -> AsyncIterator[MinioServer]:
    server = MinioServer(tmp_path / "minio")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def s3(minio: MinioServer) -> AsyncIterator[S3Store]:
    store = S3Store(place(minio), lambda: minio.credentials)
    await store.prepare()
    yield store
    await store.close()
