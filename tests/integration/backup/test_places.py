"""Repositories in a folder and in a real MinIO, Redis's state, and a machine that was replaced: without the engine."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from appliance.backup import lease_keeper
from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.key import replace_key
from appliance.backup.lease import Lease, check_nobody_runs, read_lease, write_lease
from appliance.backup.lease_keeper import LeaseKeeper
from appliance.backup.redis_state import RedisKey, dump_redis, load_redis
from appliance.backup.repository import FolderRepository, open_repository
from appliance.backup.restore import Wish, restore
from appliance.backup.work import LOCK, STAGING, Backups, no_progress, work_folder
from appliance.bench.rig import until
from appliance.config import load_settings
from appliance.database import Database
from appliance.model import SessionState
from appliance.pairing.redis_client import RedisClient
from appliance.redis_server import RedisServer
from tests.daemon_fakes import FakeSessions
from tests.integration.backup.rig import Place
from tests.unit.backup.rig import State

needs_restic = pytest.mark.restic


@needs_restic
async def test_the_way_there_and_back(place: Place) -> None:
    first = await place.save("first")
    second = await place.save("second")
    async with Backups(place.settings) as backups:
        assert [(one.id, one.reason) for one in await backups.saved()] == [(second, "second"), (first, "first")]
        assert (await backups.verify(first[:4], all_data=True, progress=no_progress)).id == first
        with pytest.raises(BackupError, match="no backup nothere"):
            await backups.find("nothere")

    with pytest.raises(BackupError, match="the key does not open") as refused:
        await restore(place.loaded(), Wish(key="another-key-of-somebody", replace=True), None, no_progress)
    assert refused.value.kind is BackupTrouble.REFUSED
    with pytest.raises(BackupError, match="1 linked sessions of its own"):
        await restore(place.loaded(), Wish(), None, no_progress)
    assert (place.state.paths.sessions / "one" / "first" / "device.db").exists(), "nothing was touched"
    assert not list(place.settings.paths.backups.glob("restore*"))

    report = await restore(place.loaded(), Wish(replace=True), None, no_progress)
    assert (report.id, report.sessions) == (second, ["one"])
    [aside] = place.settings.paths.backups.glob("before-restore-*")
    assert (aside / "amda.db").exists()
    assert any(str(aside) in note for note in report.notes)
    with State.writing(place.settings.paths.database) as database:
        assert database.execute("SELECT generation FROM sessions").fetchall() == [(2,)]
    repository = open_repository(place.settings.backup)
    lease = await read_lease(repository)
    assert lease is not None
    assert lease.term == 1
    assert await repository.age("amda-lease.json", lease.renewed_at) < 60
    await repository.close()


@needs_restic
async def test_a_machine_that_has_backups_of_its_own_goes_on_with_their_key(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = Place(tmp_path / "old", AMDA_BACKUP_PATH=str(tmp_path / "repository"))
    new = Place(tmp_path / "new", AMDA_BACKUP_PATH=str(tmp_path / "new" / "repository"))
    await old.state.make("one")
    await new.state.make("two")
    await old.save()
    await new.save("night")
    kept, own = (place.settings.backup.key_file.read_text() for place in (old, new))
    there = open_repository(old.settings.backup)
    report = await restore(new.loaded(), Wish(key=kept.strip(), replace=True), there, no_progress)
    assert report.sessions == ["one"]
    assert any("keep both" in note for note in report.notes)
    assert new.settings.backup.key_file.read_text() == own
    await new.save("the next night")
    shutil.rmtree(new.settings.backup.path)
    await restore(new.loaded(), Wish(key=kept.strip(), replace=True), there, no_progress)
    assert new.settings.backup.key_file.read_text() == kept, "there are no backups of its own any more"


@needs_restic
async def test_an_s3_that_is_away_is_said(tmp_path: Path) -> None:
    login = tmp_path / "login.toml"
    login.write_text('access_key = "a"\nsecret_key = "secret-of-s3"\n')
    login.chmod(0o600)
    place = Place(
        tmp_path,
        AMDA_BACKUP_KIND="s3",
        AMDA_BACKUP_ENDPOINT="http://127.0.0.1:9",
        AMDA_BACKUP_CREDENTIALS=str(login),
    )
    await place.state.make("one")
    with pytest.raises(BackupError, match="does not answer") as away:
        await place.save()
    assert away.value.kind is BackupTrouble.AWAY
    assert "secret-of-s3" not in (place.settings.paths.backups / "record.json").read_text()
    assert not (place.settings.paths.backups / STAGING).exists()


@needs_restic
async def test_old_ones_go_by_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, AMDA_BACKUP_PATH=str(tmp_path / "repository"))
    await place.state.make("one")
    await place.save()
    monkeypatch.setattr("appliance.backup.restic.KEEP_ALL", "0h")
    last = await place.save(keep_daily=1, keep_weekly=0, keep_monthly=0)
    async with Backups(place.settings) as backups:
        assert [one.id for one in await backups.saved()] == [last]


@needs_restic
async def test_what_a_killed_run_has_left_is_cleared_and_two_at_once_are_refused(tmp_path: Path) -> None:
    place = Place(tmp_path, AMDA_BACKUP_PATH=str(tmp_path / "repository"))
    await place.state.make("one")
    left = place.settings.paths.backups / STAGING / "sessions" / "one"
    left.mkdir(parents=True)
    (left / "device.db").write_text("half")
    await place.save()
    assert sorted(path.name for path in place.settings.paths.backups.iterdir()) == [LOCK, "key", "record.json"]
    with work_folder(place.settings.paths.backups, STAGING), pytest.raises(BackupError, match="is under way"):
        await place.save()


async def test_redis_goes_on_where_it_was(tmp_path: Path) -> None:
    server = RedisServer(folder=tmp_path / "redis", socket=tmp_path / "redis.sock", log=lambda _line: None)
    await server.start()
    client = RedisClient(f"unix://{tmp_path / 'redis.sock'}")
    redis = client.client
    try:
        await redis.set("amda:pairing:fence", "41")
        await redis.hset("amda:pairing:limit:session:one", mapping={"until": "2000.000", "by": "job"})
        await redis.pexpire("amda:pairing:limit:session:one", 60_000)
        await redis.hset("amda:pairing:limit:session:two", mapping={"until": "1.000", "by": "job"})
        await redis.pexpire("amda:pairing:limit:session:two", 5_000)
        await redis.zadd("amda:pairing:shown", {"job": 12.5})
        await redis.set("amda:pairing:session:one", "job")
        await redis.sadd("amda:pairing:busy:node", "job")
        await redis.set("of somebody else", "x")
        keys = await dump_redis(client)
        assert "of somebody else" not in {key.name for key in keys}
        assert len(keys) == 6
        again = msgspec.json.decode(msgspec.json.encode(keys), type=list[RedisKey])
        await redis.flushdb()
        assert await load_redis(client, again, passed_ms=10_000) == 3
        assert await redis.get("amda:pairing:fence") == "41"
        assert await redis.hgetall("amda:pairing:limit:session:one") == {"until": "2000.000", "by": "job"}
        assert 0 < await redis.pttl("amda:pairing:limit:session:one") <= 50_000
        assert await redis.zscore("amda:pairing:shown", "job") == 12.5
        assert sorted(await redis.keys("*")) == [
            "amda:pairing:fence",
            "amda:pairing:limit:session:one",
            "amda:pairing:shown",
        ], "what expired, and links that were under way, stay away"
    finally:
        await client.close()
        await server.stop()


class Machine:
    """The daemon's part of the lease on a database of its own."""

    def __init__(self, folder: Path, repository: Path, node_id: str) -> None:
        folder.mkdir()
        self.settings = load_settings(
            None,
            {"AMDA_PATHS_STATE_DIR": str(folder), "AMDA_BACKUP_PATH": str(repository), "HOME": str(folder)},
        )
        self.node_id = node_id
        self.sessions = FakeSessions()

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[LeaseKeeper]:
        database = await Database.open(self.settings.paths.database)
        try:
            async with LeaseKeeper.open(self.settings, database, self.node_id) as keeper:
                yield keeper
        finally:
            await database.close()


async def test_a_machine_that_was_replaced_ends_its_sessions_and_starts_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    machine = Machine(tmp_path / "old", repository, "old")
    async with machine.daemon() as keeper:
        assert not (repository / "amda-lease.json").exists(), "nothing was ever saved, nobody can restore it"
        assert keeper.may_run("one", "old")
    (repository / "config").touch()
    monkeypatch.setattr(lease_keeper, "RENEW_S", 0.05)
    async with machine.daemon() as keeper:
        opened = open_repository(machine.settings.backup)
        first = await read_lease(opened)
        assert first is not None
        assert (first.node_id, first.lineage, first.term) == ("old", "old", 1)
        await machine.sessions.create("one", "One")
        await machine.sessions.start("one")
        running = asyncio.create_task(keeper.run(machine.sessions))
        taken = Lease(lineage="old", node_id="new", host="newbox", term=2, renewed_at=time.time())
        await write_lease(opened, taken)

        async def ended() -> bool:
            return (await machine.sessions.get("one")).state is SessionState.STOPPED

        async with asyncio.timeout(10):
            await until(ended)
        assert not keeper.may_run("one", "old")
        assert "newbox has taken over" in keeper.trouble()[0].reason
        assert keeper.view().superseded
        assert await read_lease(opened) == taken, "it is not written over"
        running.cancel()
    shutil.rmtree(repository)
    async with machine.daemon() as keeper:
        assert not keeper.may_run("one", "old"), "it is remembered, whether the repository is there or not"
    repository.mkdir()
    (repository / "config").touch()
    await write_lease(opened, msgspec.structs.replace(taken, node_id="old", term=3))
    async with machine.daemon() as keeper:
        assert keeper.may_run("one", "old"), "somebody has said that they are its own again"
        assert keeper.trouble() == []


async def test_a_machine_that_was_off_for_long_waits_for_the_repository_before_it_starts_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "config").touch()
    machine = Machine(tmp_path / "old", repository, "old")
    async with machine.daemon():
        pass
    hidden = repository.rename(tmp_path / "not mounted yet")
    monkeypatch.setattr(lease_keeper, "FIRST_S", 0.2)
    monkeypatch.setattr(lease_keeper, "AGAIN_S", 0.05)
    async with asyncio.timeout(5), machine.daemon() as keeper:
        assert keeper.may_run("one", "old"), "it was here a moment ago: nobody can have taken over meanwhile"
        assert "is not there" in keeper.view().lease_error
    taken = Lease(lineage="old", node_id="new", host="newbox", term=2, renewed_at=time.time())
    await write_lease(FolderRepository(hidden), taken)
    with State.writing(machine.settings.paths.database) as database:
        database.execute("UPDATE meta SET value = value - 3600 WHERE key = 'lease_renewed_at'")
    asyncio.get_running_loop().call_later(0.5, hidden.rename, repository)
    async with asyncio.timeout(20), machine.daemon() as keeper:
        assert not keeper.may_run("one", "old")


async def test_two_appliances_with_one_repository_are_told_and_run_on(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "config").touch()
    async with Machine(tmp_path / "a", repository, "a").daemon():
        pass
    async with Machine(tmp_path / "b", repository, "b").daemon() as keeper:
        assert keeper.may_run("one", "b")
        assert "another appliance" in keeper.trouble()[0].reason
    lease = await read_lease(open_repository(load_settings(None, {"AMDA_BACKUP_PATH": str(repository)}).backup))
    assert lease is not None
    assert lease.node_id == "a"


def test_a_key_is_replaced_once(tmp_path: Path) -> None:
    replace_key(tmp_path / "key", tmp_path, "first-key-of-all")
    replace_key(tmp_path / "key", tmp_path, "first-key-of-all")
    assert not (tmp_path / "key.before-restore").exists()


async def test_a_restore_asks_the_lease_before_anything(tmp_path: Path) -> None:
    place = Place(tmp_path, AMDA_BACKUP_PATH=str(tmp_path / "repository"))
    (tmp_path / "repository").mkdir()
    opened = open_repository(place.settings.backup)
    await write_lease(opened, Lease(lineage="l", node_id="other", host="box", term=1, renewed_at=time.time()))
    with pytest.raises(BackupError, match="still runs"):
        await check_nobody_runs(opened, "", old_machine_is_off=False)
