"""The whole figures of storage: ten thousand random steps against the quota on both stores, and a full index."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from appliance.bench import storage
from appliance.database import Database
from appliance.media.s3 import S3Store
from appliance.media.s3_settings import S3Place
from appliance.minio_server import MinioServer
from tests.unit.media.vault_chance import QUOTA, SESSION_QUOTA, take_chances
from tests.unit.media.vault_rig import VaultRig

STEPS = 10_000


@pytest.mark.timeout(900)
async def test_random_steps_on_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is not the question."""
    monkeypatch.setattr(os, "fsync", lambda _fd: None)
    database = await Database.open(tmp_path / "amda.db")
    await database._writer.execute("PRAGMA synchronous=OFF")
    rig = VaultRig(tmp_path, database, quota_bytes=QUOTA, session_quota_bytes=SESSION_QUOTA)
    await rig.bus.load()
    await rig.vault.load()
    await take_chances(rig, steps=STEPS, seed=6)
    await database.close()


@pytest.mark.minio
@pytest.mark.timeout(3600)
async def test_random_steps_on_s3(tmp_path: Path) -> None:
    server = MinioServer(tmp_path / "minio")
    await server.start()
    place = S3Place(endpoint=server.endpoint, bucket="chances", region="us-east-1", path_style=True, ca_file=None)
    store = S3Store(place, lambda: server.credentials)
    await store.prepare()
    database = await Database.open(tmp_path / "amda.db")
    rig = VaultRig(tmp_path, database, store, quota_bytes=QUOTA, session_quota_bytes=SESSION_QUOTA)
    await rig.bus.load()
    await rig.vault.load()
    await take_chances(rig, steps=STEPS, seed=8)
    await database.close()
    await store.close()
    await server.stop()


@pytest.mark.minio
@pytest.mark.timeout(900)
async def test_hundred_thousand_objects() -> None:
    result = await storage.run(objects=100_000)
    assert result.passed, msgspec.json.format(msgspec.json.encode(result)).decode()
