"""A migrated database is as it was before, with all that has been recorded since; or it stays as it is."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from appliance.database import Database, DatabaseError, copies_of
from appliance.migrations import MIGRATIONS
from appliance.upgrade import schema_back
from appliance.upgrade.schema_back import SchemaError, back, schema_of

NOW = len(MIGRATIONS)
ADDS = "ALTER TABLE sessions ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'; CREATE TABLE moods (name TEXT);"
TURNS = "ALTER TABLE sessions RENAME COLUMN name TO title;"
"""A change that the old release's columns do not fit: NOT NULL, and no longer there."""
SESSION = (
    "INSERT INTO sessions (id, {name}, node_id, state, since, created_at, generation, store_url)"
    " VALUES (?, ?, 'n', 'online', 1, 1, ?, ?)"
)


@contextlib.contextmanager
def opened(path: Path) -> Any:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def dump(path: Path) -> list[str]:
    with opened(path) as connection:
        return sorted(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))


@pytest.fixture
async def copies(tmp_path: Path) -> Path:
    """A database of today's schema with a session and a picture."""
    await (await Database.open(tmp_path / "amda.db")).close()
    with opened(tmp_path / "amda.db") as connection:
        connection.execute(SESSION.format(name="name"), ("anna", "Anna", 3, "file:///a/first"))
        connection.execute(
            "INSERT INTO objects (key, session, sha256, size, stored_at) VALUES ('s/1', 'anna', 'h', 5, 1)"
        )
        add_media(connection, "one")
        connection.execute("INSERT INTO events (seq, at, type, data) VALUES (41, 1, 'x', '{}')")
    return tmp_path / "copies"


def add_media(connection: sqlite3.Connection, name: str) -> None:
    connection.execute(
        "INSERT INTO media (id, session, category, kind, mimetype, size, sha256, key, message_id, chat, sender,"
        " sent_at, captured_at, stored_at)"
        " VALUES (?, 'anna', 'statuses', 'image', 'image/jpeg', 5, 'h', 's/1', ?, '', '', 1, 1, 1)",
        (name, name),
    )


async def upgrade(folder: Path, *scripts: str) -> None:
    await (await Database.open(folder / "amda.db", (*MIGRATIONS, *scripts), copies=folder / "copies")).close()


async def test_a_copy_is_made_before_the_schema_changes_and_only_then(tmp_path: Path, copies: Path) -> None:
    await upgrade(tmp_path)
    assert copies_of(copies) == []
    await upgrade(tmp_path, ADDS)
    [copy] = copies_of(copies)
    assert schema_of(copy) == NOW
    assert copy.stat().st_mode & 0o777 == 0o600
    await upgrade(tmp_path, ADDS)
    assert copies_of(copies) == [copy]


async def test_no_migration_without_a_way_back(tmp_path: Path, copies: Path) -> None:
    copies.write_text("a file where the folder should be")  # noqa: ASYNC240
    with pytest.raises(DatabaseError, match="no copy can be made"):
        await upgrade(tmp_path, ADDS)
    assert schema_of(tmp_path / "amda.db") == NOW


async def test_what_was_recorded_since_comes_along(tmp_path: Path, copies: Path) -> None:
    database, before = tmp_path / "amda.db", dump(tmp_path / "amda.db")
    await upgrade(tmp_path, ADDS)
    with opened(database) as connection:
        connection.execute(SESSION.format(name="name"), ("berta", "Berta", 1, "file:///b/first"))
        connection.execute("UPDATE sessions SET generation = 4, store_url = 'file:///a/second' WHERE id = 'anna'")
        add_media(connection, "two")
        connection.execute("DELETE FROM events")
    assert "rows carried over" in back(database, copies, NOW)
    assert (schema_of(database), dump(database)) == (NOW, before)
    with opened(database) as connection:
        logins = connection.execute("SELECT id, generation, store_url FROM sessions ORDER BY id").fetchall()
        assert logins == [("anna", 4, "file:///a/second"), ("berta", 1, "file:///b/first")]
        assert connection.execute("SELECT refs, category FROM objects").fetchall() == [(2, "s")], "counted once"
        connection.execute("INSERT INTO events (at, type, data) VALUES (1, 'x', '{}')")
        assert connection.execute("SELECT max(seq) FROM events").fetchone() == (42,), "no number is given twice"
        add_media(connection, "three")
        assert connection.execute("SELECT refs FROM objects").fetchone() == (3,), "the triggers are back"
    assert [schema_of(copy) for copy in copies_of(copies, NOW + 1)] == [NOW + 1], "nothing is thrown away"
    assert "already" in back(database, copies, NOW)
    await upgrade(tmp_path, ADDS)
    assert schema_of(database) == NOW + 1, "and forwards again"


async def test_where_it_does_not_fit_the_copy_alone_is_taken_if_no_login_has_changed(
    tmp_path: Path, copies: Path
) -> None:
    database = tmp_path / "amda.db"
    await upgrade(tmp_path, TURNS)
    with opened(database) as connection:
        connection.execute("DELETE FROM media")
    assert ", as in schema-" in back(database, copies, NOW)
    with opened(database) as connection:
        assert connection.execute("SELECT name FROM sessions").fetchall() == [("Anna",)]
        assert connection.execute("SELECT count(*) FROM media").fetchone() == (1,)


async def test_it_stays_as_it_is_rather_than_losing_a_login(tmp_path: Path, copies: Path) -> None:
    database = tmp_path / "amda.db"
    await upgrade(tmp_path, TURNS)
    with opened(database) as connection:
        connection.execute(SESSION.format(name="title"), ("berta", "Berta", 1, "file:///b/first"))
    after = database.read_bytes()
    with pytest.raises(SchemaError, match="logins are among it"):
        back(database, copies, NOW)
    assert database.read_bytes() == after


async def test_without_a_copy_there_is_no_way_back(tmp_path: Path, copies: Path) -> None:
    await upgrade(tmp_path, ADDS)
    for copy in copies_of(copies):
        copy.unlink()
    with pytest.raises(SchemaError, match="no copy of it"):
        back(tmp_path / "amda.db", copies, NOW)


async def test_killed_in_the_middle_it_is_one_or_the_other(
    tmp_path: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "amda.db"
    await upgrade(tmp_path, ADDS)

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("_carry", "check_database", "_sync"):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(schema_back, name, cut)
            back(database, copies, NOW)
        assert schema_of(database) in (NOW, NOW + 1)
        with opened(database) as connection:
            assert connection.execute("SELECT id FROM sessions").fetchall() == [("anna",)]
    back(database, copies, NOW)
    assert schema_of(database) == NOW


async def test_as_a_program(tmp_path: Path, copies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await upgrade(tmp_path, ADDS)
    options = ["--database", str(tmp_path / "amda.db")]
    assert schema_back.main(["show", *options]) == 0
    assert schema_back.main(["back", *options, "--copies", str(copies), "--schema", "2"]) == 1
    assert schema_back.main(["back", *options, "--copies", str(copies), "--schema", str(NOW)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{NOW + 1}\nschema {NOW} is back")
    assert "no copy of it with schema 2" in captured.err
