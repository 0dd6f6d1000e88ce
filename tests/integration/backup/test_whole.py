"""All of it with the real engine: saved while messages flow, destroyed, restored elsewhere, online without linking."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.backup.lease import NAME
from appliance.bench.rig import Rig, until
from appliance.client import ApplianceClient
from appliance.config import load_settings
from appliance.embedded import EmbeddedAppliance
from appliance.model import SessionState
from appliance.staging import control_types as ct

PHONE = "221771000001"
CONTACT = "221772000001"
pytestmark = [pytest.mark.restic, pytest.mark.staging]


async def amda(environment: dict[str, str], *words: str, status: int = 0) -> Any:
    """A command in a process of its own, and what it prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", *words, "--json"),
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == status, f"{words}: {process.returncode}\n{out.decode()}\n{err.decode()}"
    return msgspec.json.decode((out if status == 0 else err).splitlines()[-1])


def picture() -> ct.Send:
    return ct.Send(account=PHONE, contact=CONTACT, kind=ct.SendKind.IMAGE, where=ct.Where.STATUS)


class Machine:
    """A second machine: other folders, the same WhatsApp, the same repository."""

    def __init__(self, rig: Rig, name: str, repository: Path) -> None:
        self.folder = rig.folder / name
        self.state = self.folder / "state"
        self.repository = repository
        self.folder.mkdir()
        (self.folder / "amda.toml").touch(mode=0o600)
        self.environment = {
            "HOME": str(self.folder),
            "AMDA_CONFIG": str(self.folder / "amda.toml"),
            "AMDA_PATHS_STATE_DIR": str(self.folder / "state"),
            "AMDA_NETWORK_STAGING": str(rig.network.folder),
            "AMDA_BACKUP_PATH": str(repository),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ApplianceClient]:
        appliance = EmbeddedAppliance(load_settings(environ=self.environment))
        async with appliance, ApplianceClient(appliance.api_socket) as api:
            yield api


async def stored(api: ApplianceClient) -> set[str]:
    return {item.message_id async for item in api.all_media()}


async def received(rig: Rig, api: ApplianceClient) -> None:
    """A message that is sent now arrives, is decrypted and stored."""
    [message] = await rig.staging.send(picture())

    async def there() -> bool:
        return message in await stored(api)

    async with asyncio.timeout(60):
        await until(there)


async def online(api: ApplianceClient) -> bool:
    return [view.state for view in await api.sessions()] == [SessionState.ONLINE]


@pytest.fixture
def repository() -> AsyncIterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="amda-repository-"))
    yield folder
    shutil.rmtree(folder)


def modes(*folders: Path) -> set[int]:
    """What others may do with any file of these."""
    return {path.stat().st_mode & 0o077 for folder in folders for path in (folder, *folder.rglob("*"))}


@pytest.mark.timeout(300)
async def test_saved_while_messages_flow_and_restored_on_another_machine(repository: Path) -> None:
    variables = {"AMDA_BACKUP_PATH": str(repository)}
    async with Rig(variables=variables) as rig, asyncio.timeout(280):
        old = rig.environment
        await rig.link("one", f"+{PHONE}")
        await received(rig, rig.api)
        kept = await stored(rig.api)

        flowing = asyncio.create_task(_flow(rig))
        made = await amda(old, "backup", "run", "--media")
        flowing.cancel()
        assert (made["sessions"], made["skipped"]) == (1, {})
        assert made["media"] >= len(kept)
        await amda(old, "backup", "verify", "--all-data")
        key = rig.folder / "kept-elsewhere"
        key.write_text((await amda(old, "backup", "key"))["key"])
        await received(rig, rig.api)  # ratchets go on: what is saved is stale from here on
        await rig.appliance.restart_daemon()  # it looks at the repository when it starts, and takes the lease

        new = Machine(rig, "new", repository)
        refused = await amda(new.environment, "backup", "restore", "--key-file", str(key), status=4)
        assert "still runs these sessions" in refused["error"]
        assert not new.state.joinpath("amda.db").exists()

        await rig.appliance.stop()
        shutil.rmtree(rig.settings.paths.state_dir)
        await _restored(rig, new, key)
        async with new.running() as api:
            async with asyncio.timeout(90):
                await until(lambda: online(api))
            assert await stored(api) >= kept
            for item in [item async for item in api.all_media()]:
                content = b"".join([piece async for piece in api.media_content(item.id)])
                assert len(content) == item.size
            await received(rig, api)
            view = await api.backup()
            assert view.lease is not None
            assert (view.lease.ours, view.lease.term, view.superseded) == (True, 2, False)
            assert (await amda(new.environment, "backup", "run", "--no-media"))["sessions"] == 1
            await _one_session_again(rig, new, api)


async def _restored(rig: Rig, new: Machine, key: Path) -> None:
    report = await amda(new.environment, "backup", "restore", "--key-file", str(key), "--old-machine-is-off")
    assert report["sessions"] == ["one"]
    assert report["media"] >= 1
    assert report["media_missing"] == 0
    with closing(sqlite3.connect(new.state / "amda.db")) as database:
        assert database.execute("SELECT generation FROM sessions").fetchall() == [(2,)]
    assert modes(new.state / "sessions", new.state / "backups", new.state / "media", new.state / "amda.db") == {0}
    assert msgspec.json.decode((new.repository / NAME).read_bytes())["term"] == 2


async def _one_session_again(rig: Rig, new: Machine, api: ApplianceClient) -> None:
    """One login out of the backup while the appliance runs: the same account, a generation further, nothing lost."""
    kept = await stored(api)
    view = await amda(new.environment, "backup", "restore", "--session", "one")
    assert view["generation"] == 3
    async with asyncio.timeout(90):
        await until(lambda: online(api))
    await received(rig, api)
    assert await stored(api) > kept
    assert (await amda(new.environment, "backup", "restore", "--session", "nobody", status=3))["error"]


async def _flow(rig: Rig) -> None:
    while True:
        await rig.staging.send(picture())
