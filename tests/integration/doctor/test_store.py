"""Whether media can be stored: a real folder, and a real S3 server with credentials that may, may not, or are wrong."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.doctor.check import Patient, Seen
from appliance.doctor.machine import index, store
from appliance.doctor.machine.store import CHECK
from appliance.media.s3 import S3Store
from appliance.media.s3_settings import S3Credentials, S3Place
from appliance.minio_server import MinioServer
from appliance.model_doctor import Severity
from tests.doctor_patient import made_database, make_patient


async def look(patient: Patient) -> Seen:
    (seen,) = await CHECK.look(patient)
    return seen


async def test_a_folder(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    assert (await look(patient)).severity is Severity.INFO
    assert not patient.settings.storage.path.exists(), "whoever looks makes nothing"
    patient.settings.storage.path.mkdir(parents=True)
    seen = await look(patient)
    assert seen.severity is Severity.OK
    assert "written and synced" in seen.found
    assert list(patient.settings.storage.path.iterdir()) == []


async def test_a_folder_that_is_none(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    patient.settings.paths.state_dir.mkdir()
    patient.settings.storage.path.touch()
    assert (await look(patient)).severity is Severity.PROBLEM


async def test_media_lies_where_it_lies_whatever_is_set(tmp_path: Path) -> None:
    patient = make_patient(tmp_path)
    await made_database(patient, "INSERT INTO meta (key, value) VALUES ('storage.kind', 's3')")
    seen = await look(patient)
    assert seen.severity is Severity.PROBLEM
    assert "endpoint is missing" in seen.found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_what_belongs_to_the_appliance_is_hidden_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = make_patient(tmp_path)
    patient.settings.storage.path.mkdir(parents=True)
    os.chown(patient.settings.storage.path, 12345, -1)
    monkeypatch.setattr(store.os, "access", lambda *_: False)  # as for an ordinary user
    seen = await look(patient)
    assert seen.partial
    assert seen.severity is Severity.INFO


@pytest.fixture
async def minio(tmp_path: Path) -> AsyncIterator[MinioServer]:
    server = MinioServer(tmp_path / "minio")
    await server.start()
    yield server
    await server.stop()


def s3_patient(folder: Path, server: MinioServer, bucket: str, credentials: S3Credentials) -> Patient:
    file = folder / "s3.toml"
    file.write_text(f'access_key = "{credentials.access_key}"\nsecret_key = "{credentials.secret_key}"\n')
    file.chmod(0o600)
    values = {"kind": "s3", "endpoint": server.endpoint, "bucket": bucket, "credentials": str(file)}
    return make_patient(folder, **{f"storage_{name}": value for name, value in values.items()})


@pytest.mark.minio
async def test_a_bucket_and_the_index_against_it(tmp_path: Path, minio: MinioServer) -> None:
    patient = s3_patient(tmp_path, minio, "doctor-bucket", minio.credentials)
    missing = await look(patient)
    assert missing.severity is Severity.PROBLEM
    assert "NoSuchBucket" in missing.found
    place = S3Place(endpoint=minio.endpoint, bucket="doctor-bucket", region="us-east-1", path_style=True, ca_file=None)
    s3 = S3Store(place, lambda: minio.credentials)
    await s3.prepare()
    seen = await look(patient)
    assert seen.severity is Severity.OK
    assert "written, seen and deleted" in seen.found
    assert [item async for item in s3.list_objects()] == []
    await s3.close()

    values = f"'statuses/awa/2026-11-01/{0:032x}.jpg', 'awa', 'x', 7, 1.0, 1"
    insert = f"INSERT INTO objects (key, session, sha256, size, stored_at, refs) VALUES ({values})"  # noqa: S608
    await made_database(patient, insert, "INSERT INTO meta (key, value) VALUES ('storage.kind', 's3')")
    (lacking,) = await index.CHECK.look(patient)
    assert lacking.severity is Severity.PROBLEM
    assert "S3 bucket doctor-bucket" in lacking.found

    wrong = S3Credentials(access_key=minio.credentials.access_key, secret_key="x" * 30)
    refused = await look(s3_patient(tmp_path, minio, "doctor-bucket", wrong))
    assert refused.severity is Severity.PROBLEM
    assert "the secret key is wrong" in refused.found
    assert "x" * 30 not in str(refused)


@pytest.mark.minio
async def test_a_server_that_is_away(tmp_path: Path) -> None:
    server = MinioServer(tmp_path / "never")
    patient = s3_patient(tmp_path, server, "nowhere", server.credentials)
    seen = await look(patient)
    assert seen.severity is Severity.PROBLEM
    assert "does not answer" in seen.found
