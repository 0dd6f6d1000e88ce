"""Redis as it is installed, and as it must not be: a real server in each case."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.doctor.check import Patient, Seen
from appliance.doctor.machine.redis import CHECK
from appliance.model_doctor import Severity
from appliance.pairing.redis_client import RedisClient
from appliance.redis_server import RedisServer
from tests.doctor_patient import make_patient, severities, worst


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Patient]:
    made = make_patient(tmp_path)
    server = RedisServer(folder=tmp_path / "redis", socket=made.settings.paths.redis_socket, log=lambda _: None)
    await server.start()
    yield made
    await server.stop()


@contextlib.asynccontextmanager
async def configured(patient: Patient, **settings: str) -> AsyncIterator[None]:
    """With these of its settings changed."""
    client = RedisClient(patient.settings.redis_url)
    try:
        for name, value in settings.items():
            await client.client.config_set(name.replace("_", "-"), value)
        yield
    finally:
        await client.close()


async def look(patient: Patient) -> list[Seen]:
    return list(await CHECK.look(patient))


async def test_as_the_appliance_starts_it(patient: Patient) -> None:
    seen = await look(patient)
    assert severities(seen) == [Severity.OK] * 2
    assert "append-only file is whole (appendfsync everysec)" in seen[0].found
    assert "answers in" in seen[1].found


@pytest.mark.parametrize(
    ("settings", "severity", "found"),
    [
        ({"appendonly": "no"}, Severity.WARNING, "keeps no append-only file"),
        ({"appendfsync": "no"}, Severity.WARNING, "never syncs"),
        ({"maxmemory_policy": "allkeys-lru"}, Severity.PROBLEM, "forgets locks"),
        ({"maxmemory": "700000"}, Severity.WARNING, "MiB are used"),
    ],
)
async def test_as_it_must_not_be(patient: Patient, settings: dict[str, str], severity: Severity, found: str) -> None:
    async with configured(patient, **settings):
        seen = worst(await look(patient))
    assert seen.severity is severity
    assert found in seen.found


async def test_as_a_service_with_a_user_that_may_not_ask_everything(patient: Patient, tmp_path: Path) -> None:
    """Its rights are those of `redis_server.SERVICE_CONFIGURATION`."""
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    client = RedisClient(patient.settings.redis_url)
    rights = (*("on", ">s3cret", "~*", "&*", "+@all"), *("-@admin", "-@dangerous", "+info"))
    await client.client.execute_command("ACL", "SETUSER", "amda", *rights)
    await client.close()
    seen = await look(make_patient(tmp_path, redis_user="amda", redis_password_file=str(secret)))
    assert severities(seen) == [Severity.OK] * 2
    secret.write_text("wrong\n")
    (refused,) = await look(make_patient(tmp_path, redis_user="amda", redis_password_file=str(secret)))
    assert refused.severity is Severity.PROBLEM
    assert "refuses our credentials" in refused.found
    assert "s3cret" not in str(refused)


async def test_away(tmp_path: Path) -> None:
    (seen,) = await look(make_patient(tmp_path))
    assert seen.severity is Severity.PROBLEM
    assert seen.found == "Redis is not running; sessions run, linking waits"


async def test_a_password_that_is_missing(tmp_path: Path) -> None:
    (seen,) = await look(make_patient(tmp_path, redis_password_file=str(tmp_path / "none")))
    assert seen.severity is Severity.PROBLEM
    assert "password" in seen.found
