"""The S3 store against a real MinIO: what a store must do, and what happens when the server does not."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from appliance.database import Database
from appliance.media.s3 import PART_BYTES, S3Store
from appliance.media.s3_settings import S3Credentials, read_credentials
from appliance.media.store import Leftovers, StoreError
from appliance.minio_server import MinioServer
from tests.integration.media.conftest import place
from tests.unit.media.store_contract import LARGE, check_contract, key, put, read
from tests.unit.media.vault_chance import take_chances
from tests.unit.media.vault_rig import VaultRig

pytestmark = pytest.mark.minio

QUOTA = 10 << 20
"""Reached within a few dozen steps."""


async def test_does_what_a_store_must_do(s3: S3Store) -> None:
    await check_contract(s3)


async def test_unfinished_uploads_are_found_even_after_the_server_was_killed(s3: S3Store, minio: MinioServer) -> None:
    await put(s3, key(1), b"whole")
    client = s3._client
    assert client is not None
    bucket = s3._place.bucket
    for name in (key(2), "somebody/elses.bin"):
        upload = client._create_multipart_upload(bucket, name, {})
        client._upload_part(bucket, name, bytes(PART_BYTES), None, upload, 1)
    assert [found.key async for found in s3.list_objects()] == [key(1)], "no listing shows them"
    await minio.kill()
    await minio.start()
    assert await s3.clear_leftovers([key(2)]) == Leftovers(count=1, size=PART_BYTES)
    assert await s3.clear_leftovers([key(2)]) == Leftovers()
    assert [upload.object_name for upload in client.uploads(bucket, "somebody/elses.bin")] == ["somebody/elses.bin"]


async def test_server_that_is_away_is_said_in_one_line_asked_again_and_used_when_it_is_back(
    s3: S3Store, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await minio.kill()
    with pytest.raises(StoreError, match=r"does not answer: Connection refused; check that the server runs") as raised:
        await put(s3, key(1), b"x")
    assert "\n" not in str(raised.value)
    with monkeypatch.context() as patch:
        patch.setattr(s3, "_run", None)  # it is left alone for a while
        with pytest.raises(StoreError):
            await s3.stat(key(1))
    await minio.start()
    monkeypatch.setattr(s3, "_away", (0.0, ""))
    await put(s3, key(1), b"x")
    assert await read(s3, key(1)) == b"x"


async def test_upload_that_the_servers_death_interrupts_stores_nothing(s3: S3Store, minio: MinioServer) -> None:
    class Interrupted(io.BytesIO):
        """The server dies once the first part was sent."""

        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= PART_BYTES and minio.pid is not None:
                os.kill(minio.pid, 9)
            return super().read(size)

    with pytest.raises(StoreError):
        await s3.put(key(1), Interrupted(LARGE), size=len(LARGE), sha256=hashlib.sha256(LARGE).hexdigest())
    await minio.kill()
    await minio.start()
    again = S3Store(s3._place, lambda: minio.credentials)
    assert await again.stat(key(1)) is None
    assert (await again.clear_leftovers([key(1)])).count == 1
    await put(again, key(1), LARGE)
    assert await read(again, key(1)) == LARGE
    await again.close()


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (S3Credentials(access_key="nobody", secret_key="wrong-secret"), "does not know the access key"),
        (S3Credentials(access_key="amda-rehearsal", secret_key="wrong-secret"), "the secret key is wrong"),
    ],
)
async def test_wrong_credentials_name_the_remedy_and_no_secret(
    minio: MinioServer, credentials: S3Credentials, told: str
) -> None:
    given = [credentials]
    store = S3Store(place(minio), lambda: given[0])
    with pytest.raises(StoreError, match=told) as raised:
        await store.prepare()
    assert "wrong-secret" not in str(raised.value)
    given[0] = minio.credentials
    await store.prepare()
    await store.close()


def test_credentials_file_must_be_ours_alone(minio: MinioServer, tmp_path: Path) -> None:
    assert read_credentials(minio.credentials_file) == minio.credentials
    minio.credentials_file.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        read_credentials(minio.credentials_file)
    broken = tmp_path / "broken"
    broken.write_text('access_key = "a"\n')
    broken.chmod(0o600)
    with pytest.raises(StoreError, match="secret_key"):
        read_credentials(broken)
    with pytest.raises(StoreError, match="No such file"):
        read_credentials(tmp_path / "none")


@pytest.fixture
async def rig(tmp_path: Path, s3: S3Store) -> AsyncIterator[VaultRig]:
    database = await Database.open(tmp_path / "amda.db")
    made = VaultRig(tmp_path, database, s3, quota_bytes=QUOTA, session_quota_bytes=QUOTA * 3 // 5)
    await made.bus.load()
    await made.vault.load()
    yield made
    await database.close()


@pytest.mark.timeout(240)
async def test_random_steps_and_kills_never_pass_the_quota(rig: VaultRig) -> None:
    """Ten thousand are in the long suite."""
    await take_chances(rig, steps=250, seed=7)
    found = await rig.auditor.check(repair=False, hashes=True, progress=lambda _done: None)
    assert (found.missing, found.damaged) == (0, 0)


async def test_media_waits_while_the_server_is_away(
    rig: VaultRig, minio: MinioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await rig.add("one", 1000)
    await minio.kill()
    with pytest.raises(StoreError):
        await rig.add("one", 2000)
    await rig.keeper.probe()
    assert "does not answer" in rig.keeper.trouble
    assert rig.vault.used == 3000, "what may have arrived counts"
    await minio.start()
    monkeypatch.setattr(cast("S3Store", rig.store.inner), "_away", (0.0, ""))
    called = asyncio.Event()
    rig.vault.on_room(called.set)
    await rig.keeper.probe()
    assert (rig.keeper.trouble, rig.vault.used) == ("", 1000)
    assert called.is_set()
    await rig.add("one", 2000)
    assert await read(rig.store, view.key)
