"""Where backups go: a folder, and the bucket of a real MinIO."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.minio_server import MinioServer
from tests.integration.backup.rig import Place


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.minio)])
async def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """The variables that name it; any number of machines may use it."""
    if request.param == "folder":
        yield {"AMDA_BACKUP_PATH": str(tmp_path / "repository")}
        return
    server = MinioServer(tmp_path / "minio")
    await server.start()
    yield {
        "AMDA_BACKUP_KIND": "s3",
        "AMDA_BACKUP_ENDPOINT": server.endpoint,
        "AMDA_BACKUP_CREDENTIALS": str(server.credentials_file),
    }
    await server.stop()


@pytest.fixture
async def place(elsewhere: dict[str, str], tmp_path: Path) -> Place:
    """A machine with one session."""
    made = Place(tmp_path, **elsewhere)
    await made.state.make("one")
    return made
