"""A saved database becomes another machine's: names, folders, generations, and events that are numbered once more."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.backup.adoption import LINEAGE, SUPERSEDED, TERM, adopt, check_release, last_event
from appliance.backup.errors import BackupError
from appliance.database import Database
from tests.unit.backup.rig import SCHEMA, State


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(database)) as opened:
        return opened.execute(sql).fetchall()


def number_events(store: Path, count: int) -> None:
    with State.writing(store / "capture.db") as database:
        database.execute("CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)")
        for _ in range(count):
            database.execute("INSERT INTO outbox (body) VALUES ('x')")
        database.execute("DELETE FROM outbox")


@pytest.fixture
async def state(tmp_path: Path) -> State:
    made = State(tmp_path)
    await made.make("one", "two")
    return made


async def test_it_is_another_machine_with_the_same_sessions(state: State, tmp_path: Path) -> None:
    with State.writing(state.paths.database) as database:
        database.execute("INSERT INTO meta VALUES (?, 'somebody')", (SUPERSEDED,))
        database.execute(
            "INSERT INTO poison VALUES ('one', 'item', 'bad', ?, 0)",
            (f"{state.paths.sessions}/one/first/spool/poison",),
        )
    folder, manifest = state.stage()
    new = tmp_path / "new state"
    adopt(folder, manifest, state_dir=new, node_id="newnode", term=5)
    found = rows(folder / "amda.db", "SELECT id, node_id, generation, store_url FROM sessions ORDER BY id")
    assert found == [
        (session, "newnode", 2, (new / "sessions" / session / "first").as_uri()) for session in ("one", "two")
    ]
    meta = dict(rows(folder / "amda.db", "SELECT key, value FROM meta"))
    assert (meta["node_id"], meta[LINEAGE], meta[TERM]) == ("newnode", manifest.node_id, "5")
    assert SUPERSEDED not in meta
    assert rows(folder / "amda.db", "SELECT folder FROM poison") == [(f"{new}/sessions/one/first/spool/poison",)]
    opened = await Database.open(folder / "amda.db")
    assert await opened.node_id() == "newnode"
    await opened.close()


async def test_the_first_machine_is_remembered_over_many_restores(state: State, tmp_path: Path) -> None:
    folder, manifest = state.stage()
    adopt(folder, manifest, state_dir=tmp_path / "second", node_id="second", term=2)
    adopt(folder, manifest, state_dir=tmp_path / "third", node_id="third", term=3)
    assert rows(folder / "amda.db", "SELECT value FROM meta WHERE key = 'lineage'") == [(manifest.node_id,)]


@pytest.mark.parametrize(("taken", "numbered", "left"), [(100, 90, 90), (80, 90, 80), (5, 0, 0)])
async def test_events_that_get_their_number_again_are_not_taken_for_known(
    state: State, taken: int, numbered: int, left: int
) -> None:
    if numbered:
        number_events(state.paths.sessions / "one" / "first", numbered)
    with State.writing(state.paths.database) as database:
        database.execute("INSERT INTO worker_seen VALUES ('one', 'first', ?)", (taken,))
    folder, manifest = state.stage()
    adopt(folder, manifest, state_dir=state.paths.state_dir, node_id="new", term=2)
    assert rows(folder / "amda.db", "SELECT seq FROM worker_seen") == [(left,)]


def test_a_store_without_any_event(tmp_path: Path) -> None:
    assert last_event(tmp_path / "none.db") == 0


async def test_a_session_that_was_not_saved_has_to_be_linked_again(state: State) -> None:
    with State.writing(state.paths.database) as database:
        database.execute("""UPDATE sessions SET memory = '{"linked": true}'""")
    (state.paths.sessions / "one" / "first" / "device.db").write_bytes(b"damaged" * 1000)
    folder, manifest = state.stage()
    adopt(folder, manifest, state_dir=state.paths.state_dir, node_id="new", term=2)
    found = rows(folder / "amda.db", "SELECT id, state, store_url IS NULL, memory FROM sessions ORDER BY id")
    assert found == [
        ("one", "needs_pairing", 1, '{"linked":false}'),
        ("two", "online", 0, '{"linked": true}'),
    ]


async def test_a_newer_release_is_named(state: State) -> None:
    _, manifest = state.stage()
    check_release(manifest)
    newer = msgspec.structs.replace(manifest, schema=SCHEMA + 1, release="9.9")
    with pytest.raises(BackupError, match=r"newer release \(9\.9\)"):
        check_release(newer)
