"""What is brought together for a backup: whole, private, consistent, and nothing that does not belong there."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from appliance.backup import contents
from appliance.backup.errors import BackupError
from appliance.backup.manifest import SettingsFile, check_contents, read_manifest
from appliance.database_copy import CopyError, check_database, copy_database
from tests.unit.backup.rig import SCHEMA, State


@pytest.fixture
async def state(tmp_path: Path) -> State:
    made = State(tmp_path)
    await made.make("one", "two")
    return made


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_everything_that_belongs_there_and_nothing_else(state: State) -> None:
    secret = SettingsFile(path="/etc/amda/secrets/x", mode=0o640, user="root", group="amda")
    folder, manifest = state.stage(((secret, b"hush"),))
    store = {"device.db", "capture.db", "spool/item0.data", "spool/item0.json", "spool/item1.data", "spool/item1.json",
             "spool/poison/bad.json"}  # fmt: skip
    expected = {f"sessions/{session}/first/{name}" for session in ("one", "two") for name in store}
    expected |= {"amda.db", "redis.json", "settings/etc/amda/secrets/x", "manifest.json"}
    assert files_below(folder) == expected
    assert {file.path for file in manifest.files} == expected - {"manifest.json"}
    assert [(one.id, one.store, one.generation) for one in manifest.sessions] == [
        ("one", "first", 1),
        ("two", "first", 1),
    ]
    assert manifest.schema == SCHEMA
    assert read_manifest(folder) == manifest
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    check_contents(folder, manifest)


async def test_a_store_that_is_not_the_sessions_is_left_out_and_one_promoted_meanwhile_is_in(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.make_store("one", "attempt")
    copied = contents._copied

    def promoted_meanwhile(source: Path, target: Path) -> int:
        if source == state.paths.database:
            store = state.make_store("two", "second")
            with state.writing(source) as database:
                database.execute("UPDATE sessions SET store_url = ? WHERE id = 'two'", (store.as_uri(),))
        return copied(source, target)

    monkeypatch.setattr(contents, "_copied", promoted_meanwhile)
    folder, manifest = state.stage()
    assert {(one.id, one.store) for one in manifest.sessions} == {("one", "first"), ("two", "second")}
    assert {path.name for path in (folder / "sessions").glob("*/*")} == {"first", "second"}
    assert not (folder / "sessions" / "two" / "first").exists()
    check_contents(folder, manifest)


async def test_a_session_removed_meanwhile_is_no_error(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    real = contents.copy_database

    def gone(source: Path, target: Path) -> int:
        if source.parent.parent.name == "one":
            with state.writing(state.paths.database) as database:
                database.execute("DELETE FROM sessions WHERE id = 'one'")
            raise FileNotFoundError(source)
        return real(source, target)

    monkeypatch.setattr(contents, "copy_database", gone)
    folder, manifest = state.stage()
    assert [one.id for one in manifest.sessions] == ["two"]
    assert manifest.skipped == {}
    check_contents(folder, manifest)


async def test_links_that_a_worker_planted_are_not_followed(state: State, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("somebody else's")
    store = state.paths.sessions / "one" / "first"
    (store / "spool" / "stolen.data").symlink_to(outside)
    os.mkfifo(store / "spool" / "pipe.data")
    (state.paths.sessions / "one" / "linked").symlink_to(state.paths.sessions / "two" / "first")
    folder, _ = state.stage()
    assert not any("stolen" in name or "pipe" in name or "linked" in name for name in files_below(folder))


@pytest.mark.parametrize("fault", ["link", "damage"])
async def test_a_store_that_cannot_be_saved_is_named_and_the_others_are_saved(state: State, fault: str) -> None:
    database = state.paths.sessions / "one" / "first" / "device.db"
    for path in database.parent.glob("device.db*"):
        path.unlink()
    if fault == "link":
        database.symlink_to(state.paths.sessions / "two" / "first" / "device.db")
    else:
        database.write_bytes(b"no database at all" * 100)
    folder, manifest = state.stage()
    assert list(manifest.skipped) == ["one"]
    assert [one.id for one in manifest.sessions] == ["two"]
    assert not (folder / "sessions" / "one" / "first").exists(), "whole or not at all"
    check_contents(folder, manifest)


async def test_nothing_to_save_is_said(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="nothing to save"):
        State(tmp_path).stage()


@pytest.mark.parametrize("damage", ["cut", "gone", "changed", "more"])
async def test_what_is_not_as_it_was_saved_is_found(state: State, damage: str) -> None:
    folder, manifest = state.stage()
    victim = folder / "sessions" / "one" / "first" / "capture.db"
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-1])
    elif damage == "gone":
        victim.unlink()
    elif damage == "changed":
        victim.write_bytes(bytes([victim.read_bytes()[0] ^ 1]) + victim.read_bytes()[1:])
    else:
        (folder / "more").write_text("a file that nobody saved is nobody's harm")
        check_contents(folder, manifest)
        return
    with pytest.raises(BackupError, match=r"one/first/capture\.db"):
        check_contents(folder, manifest)


def test_a_copy_is_one_whole_file_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    with State.writing(source) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE pairs (a INTEGER, b INTEGER)")
    stop = threading.Event()

    def write() -> None:
        with State.writing(source) as database:
            number = 0
            while not stop.is_set():
                database.execute("BEGIN")
                database.execute("INSERT INTO pairs VALUES (?, NULL)", (number,))
                database.execute("UPDATE pairs SET b = a WHERE b IS NULL")
                database.execute("COMMIT")
                number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(20):
            copy = tmp_path / f"copy{number}.db"
            copy_database(source, copy)
            assert copy.stat().st_mode & 0o777 == 0o600
            with State.writing(copy) as database:
                assert database.execute("SELECT count(*) FROM pairs WHERE b IS NOT a").fetchone() == (0,)
    finally:
        stop.set()
        writer.join()
    assert not list(tmp_path.glob("copy*-*")), "no log lies beside a copy"


def test_a_copy_never_overwrites_and_never_makes_a_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_database(tmp_path / "none.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []
    with State.writing(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE t (x)")
    (tmp_path / "b.db").write_text("mine")
    with pytest.raises(FileExistsError):
        copy_database(tmp_path / "a.db", tmp_path / "b.db")
    assert (tmp_path / "b.db").read_text() == "mine"


def test_a_damaged_database_is_no_copy(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    with State.writing(damaged) as database:
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [("y" * 500,) for _ in range(200)])
    content = bytearray(damaged.read_bytes())
    content[8192:12288] = b"\x55" * 4096
    damaged.write_bytes(content)
    with pytest.raises(CopyError, match="not whole"):
        check_database(damaged)
    with pytest.raises((CopyError, sqlite3.Error)):
        copy_database(damaged, tmp_path / "copy.db")
