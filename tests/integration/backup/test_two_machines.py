"""Two machines with the same logins and one repository, in a folder and in a real MinIO: only one of them runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.backup import lease, lease_keeper
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.lease_keeper import LeaseKeeper
from appliance.backup.restore import Wish, restore
from appliance.backup.work import no_progress
from appliance.bench.rig import until
from appliance.database import Database
from appliance.model import SessionState
from tests.daemon_fakes import FakeSessions
from tests.integration.backup.rig import Place

pytestmark = pytest.mark.restic


@contextlib.asynccontextmanager
async def daemon(place: Place) -> AsyncIterator[LeaseKeeper]:
    """The daemon's part of the lease, on the state that lies there."""
    database = await Database.open(place.settings.paths.database)
    try:
        async with LeaseKeeper.open(place.settings, database, await database.node_id()) as keeper:
            yield keeper
    finally:
        await database.close()


async def test_nothing_is_restored_while_the_old_machine_runs_and_then_only_the_new_one_does(
    elsewhere: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Place(tmp_path / "old", **elsewhere), Place(tmp_path / "new", **elsewhere)
    await old.state.make("one")
    await old.save()
    wish = Wish(key=(old.settings.paths.backups / "key").read_text())
    sessions = FakeSessions()
    await sessions.create("one", "One")
    await sessions.start("one")

    async with daemon(old) as keeper:
        with pytest.raises(BackupError, match="still runs these sessions") as refused:
            await restore(new.loaded(), wish, None, no_progress)
        assert refused.value.kind is BackupTrouble.REFUSED
        assert not new.settings.paths.database.exists(), "nothing was begun"
        assert keeper.may_run("one", "old")

        monkeypatch.setattr(lease, "LIVE_S", 0.0)  # so long has it said nothing
        assert (await restore(new.loaded(), wish, None, no_progress)).sessions == ["one"]
        monkeypatch.undo()
        monkeypatch.setattr(lease_keeper, "RENEW_S", 0.05)
        running = asyncio.create_task(keeper.run(sessions))

        async def ended() -> bool:
            return (await sessions.get("one")).state is SessionState.STOPPED

        async with asyncio.timeout(30):
            await until(ended)
        assert not keeper.may_run("one", "old"), "it was back, and has heard of the other"
        running.cancel()

    async with daemon(new) as keeper:
        held = keeper.view().lease
        assert held is not None
        assert (held.ours, held.term) == (True, 2)
        assert keeper.may_run("one", "new")
        assert keeper.trouble() == []
    async with daemon(old) as keeper:
        assert not keeper.may_run("one", "old"), "after its next start, either"
    with pytest.raises(BackupError, match="has taken over these sessions"):
        await old.save()
    assert await new.save()
