"""What is refused before anything changes, and what a new upgrade knows."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from appliance.config import ConfigError, load_settings
from appliance.model import SessionState
from appliance.upgrade import conduct, snapshot
from appliance.upgrade.conduct import Wish, begin_release, offer_of, require_server, to_go_back, unfinished
from appliance.upgrade.faults import Fault, UpgradeError
from appliance.upgrade.journal import JournalFile
from appliance.upgrade.moving import choose_canaries
from appliance.upgrade.offers import Offer, here
from appliance.upgrade.plan import Journal, Kind, Outcome, Step
from tests.daemon_fakes import FakeSessions
from tests.unit.upgrade.world import NEW, OLD, SESSIONS, World, make_release


@pytest.fixture
def world(tmp_path: Path) -> World:
    for name in (OLD, NEW):
        make_release(tmp_path, name)
    settings = load_settings(None, {"HOME": str(tmp_path), "AMDA_PATHS_STATE_DIR": str(tmp_path)})
    return World(settings, tmp_path)


def offer(world: World, **changes: object) -> Offer:
    return msgspec.structs.replace(here(world.releases / NEW), **changes)


def begin(world: World, offered: Offer) -> Journal:
    version, status = asyncio.run(conduct.what_runs(world))
    return begin_release(world, offered, Wish(), version, status)


def refusal(world: World, offered: Offer) -> Fault:
    with pytest.raises(UpgradeError) as error:
        begin(world, offered)
    assert error.value.remedy
    return error.value.fault


def test_a_new_upgrade_knows_where_it_comes_from(world: World) -> None:
    journal = begin(world, offer(world))
    assert (journal.source.name, journal.target.name, journal.step) == (OLD, NEW, Step.STAGE)
    assert (journal.schema, journal.sessions, journal.origin) == (5, len(SESSIONS), [])


def test_what_cannot_be_upgraded_to(world: World) -> None:
    assert refusal(world, here(world.releases / OLD)) is Fault.NOT_POSSIBLE, "it runs already"
    assert refusal(world, offer(world, version="0.9")) is Fault.NOT_POSSIBLE, "older"
    assert refusal(world, offer(world, schema=4)) is Fault.NOT_POSSIBLE, "its database is older"
    assert refusal(world, offer(world, protocol=3)) is Fault.NOT_POSSIBLE, "a step of the protocol is skipped"
    assert begin(world, offer(world, protocol=2)).target.name == NEW


def test_an_upgrade_is_no_repair(world: World) -> None:
    world.daemon = None
    with pytest.raises(UpgradeError) as error:
        asyncio.run(conduct.what_runs(world))
    assert error.value.fault is Fault.NOT_RUNNING
    world.daemon = NEW
    assert refusal(world, offer(world)) is Fault.NOT_RUNNING, "current is not what runs"


@pytest.mark.parametrize(("engine", "kept"), [("0.5.1-aa", False), ("0.5.3-aa", True)])
def test_an_engine_of_its_own_is_kept_only_if_it_is_newer_than_the_releases(
    world: World, engine: str, *, kept: bool
) -> None:
    folder = world.engines / engine
    folder.mkdir(parents=True)
    (world.engines / "current").symlink_to(folder)
    journal = begin(world, offer(world, lock="neonize==0.5.2 \\\n"))
    assert journal.engine == str(folder)
    assert journal.engine_after == (str(folder) if kept else "")


def test_what_to_can_name(world: World, tmp_path: Path) -> None:
    found = offer_of(world, Wish(to="2.0"), None, tmp_path)
    assert found.place is not None
    assert found.place.name == NEW
    assert offer_of(world, Wish(to=str(world.releases / NEW)), None, tmp_path).origin[0] == "--from"
    for wish, fault in (
        (Wish(), Fault.NO_SOURCE),
        (Wish(to="7.0"), Fault.NO_SOURCE),
        (Wish(to="/no/such/file"), Fault.NO_SUCH_RELEASE),
        (Wish(to="https://example.org/x.tar.gz"), Fault.NOT_VERIFIED),
    ):
        with pytest.raises(UpgradeError) as error:
            offer_of(world, wish, None, tmp_path)
        assert error.value.fault is fault


def test_only_a_server_can_be_upgraded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UpgradeError, match="not put here by install") as error:
        require_server(world)
    assert "checkout" in error.value.remedy
    (world.opt / "current").symlink_to(world.releases / OLD)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UpgradeError) as refused:
        require_server(world)
    assert refused.value.fault is Fault.NEEDS_ROOT


def test_one_at_a_time_and_each_kind_ends_its_own(world: World, tmp_path: Path) -> None:
    release, engine = (JournalFile(tmp_path / "upgrade", kind) for kind in (Kind.RELEASE, Kind.ENGINE))
    assert release.read() is None
    with pytest.raises(UpgradeError) as nothing:
        to_go_back(release)
    assert nothing.value.fault is Fault.NOTHING_TO_UNDO
    release.write(begin(world, offer(world)))
    assert release.file.stat().st_mode & 0o777 == 0o600
    assert '"outcome": null' in release.file.read_text(), "what install.sh looks for"
    assert unfinished(release.folder, Kind.RELEASE) is not None
    with pytest.raises(UpgradeError) as other:
        unfinished(release.folder, Kind.ENGINE)
    assert other.value.fault is Fault.UNFINISHED
    with release.only_one(), pytest.raises(UpgradeError) as busy, engine.only_one():
        pass
    assert busy.value.fault is Fault.BUSY
    release.file.write_text("{")
    with pytest.raises(UpgradeError) as broken:
        release.read()
    assert broken.value.fault is Fault.NO_JOURNAL


def test_a_finished_upgrade_can_be_taken_back_while_the_release_is_there(world: World, tmp_path: Path) -> None:
    file = JournalFile(tmp_path / "upgrade", Kind.RELEASE)
    done = msgspec.structs.replace(
        begin(world, offer(world)), step=Step.TIDY, outcome=Outcome.DONE, error="busy", fault=50
    )
    file.write(done)
    journal = to_go_back(file)
    assert (journal.step, journal.outcome, journal.error) == (Step.BACK_FORK_SERVER, None, "")
    shutil.rmtree(world.releases / OLD)
    with pytest.raises(UpgradeError) as error:
        to_go_back(file)
    assert error.value.fault is Fault.NOTHING_TO_UNDO


async def test_canaries_are_those_that_have_moved_then_the_steadiest() -> None:
    fake = FakeSessions()
    for name in ("new", "old", "moved", "away"):
        await fake.create(name, name)
    fake.change("new", state=SessionState.ONLINE, since=30.0, build=OLD)
    fake.change("old", state=SessionState.ONLINE, since=10.0, build=OLD)
    fake.change("moved", state=SessionState.ONLINE, since=99.0, build=NEW)
    fake.change("away", state=SessionState.RECONNECTING, since=1.0, build=OLD)
    views = await fake.list()
    assert choose_canaries(views, NEW, 2) == ["moved", "old"]
    assert choose_canaries(views, NEW, 9) == ["moved", "old", "new"]


def test_a_snapshot_is_private_verified_and_few_are_kept(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "amda.db") as database:
        database.execute("CREATE TABLE t (x)")
    (tmp_path / "amda.toml").write_text("[log]\n")
    options = ["--database", str(tmp_path / "amda.db"), "--into", str(tmp_path / "backups")]
    for _ in range(snapshot.KEPT + 2):
        assert snapshot.main([*options, "--settings", str(tmp_path / "amda.toml")]) == 0
    made = sorted((tmp_path / "backups").iterdir())
    assert len(made) == snapshot.KEPT
    assert {path.name for path in made[-1].iterdir()} == {"amda.db", "amda.toml"}
    assert made[-1].stat().st_mode & 0o777 == 0o700
    assert snapshot.main(["--database", "/missing", *options[2:], "--settings", "/missing"]) == 1


def test_url_and_signers_belong_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        load_settings(None, {"HOME": str(tmp_path), "AMDA_UPGRADE_URL": "https://example.org"})
