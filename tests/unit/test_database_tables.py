"""What is kept of answers depends on which tables are written to, also by triggers, foreign keys and transactions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.database_tables import Schema

SCHEMA = Schema(
    ("media", "objects", "parents", "children", "notes"), {"media": ["objects", "of"], "parents": ["children"]}
)


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("SELECT * FROM media", set()),
        ("BEGIN IMMEDIATE", set()),
        ("INSERT OR IGNORE INTO notes (media) VALUES (?)", {"notes"}),
        ("INSERT INTO notes VALUES (1) ON CONFLICT (id) DO UPDATE SET text = 'x'", {"notes"}),
        ("UPDATE notes SET text = (SELECT max(id) FROM media)", {"notes"}),
        ("update or ignore objects SET size = 0", {"objects"}),
        ("DELETE FROM media WHERE id = 1", {"media", "objects"}),
        ("WITH old AS (SELECT 1) DELETE FROM parents", {"parents", "children"}),
        ("DROP TABLE notes", set(SCHEMA.tables)),
        ("", set(SCHEMA.tables)),
    ],
)
def test_what_a_statement_may_change(sql: str, changed: set[str]) -> None:
    assert SCHEMA.changed(sql) == changed


def test_what_a_question_depends_on() -> None:
    assert SCHEMA.read("SELECT (SELECT count(*) FROM notes) FROM (SELECT * FROM media) JOIN objects") == {
        "notes",
        "media",
        "objects",
    }
    assert SCHEMA.read("SELECT 1") == SCHEMA.tables


TRIED = (
    "CREATE TABLE parents (id INTEGER PRIMARY KEY);"
    "CREATE TABLE children (parent REFERENCES parents ON DELETE CASCADE);"
    "CREATE TABLE grandchildren (child); CREATE TABLE others (id);"
    "CREATE TRIGGER gone AFTER DELETE ON children BEGIN DELETE FROM grandchildren WHERE child = OLD.parent; END;"
    "INSERT INTO parents VALUES (1), (2); INSERT INTO children VALUES (1), (2); INSERT INTO grandchildren VALUES (1);"
)


async def test_what_follows_from_a_write_is_known_and_the_rest_is_kept(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "amda.db", (TRIED,))
    kept = "SELECT count(*) AS number FROM others"
    before = await database.fetch_shared(kept)
    counts = [f"SELECT count(*) AS number FROM {table}" for table in ("parents", "children", "grandchildren")]  # noqa: S608
    assert [(await database.fetch_shared(sql))[0]["number"] for sql in counts] == [2, 2, 1]
    await database.execute("DELETE FROM parents WHERE id = 1")
    assert [(await database.fetch_shared(sql))[0]["number"] for sql in counts] == [1, 1, 0]
    async with database.transaction() as connection:
        await connection.executemany("INSERT INTO parents VALUES (?)", [(3,), (4,)])
        async with connection.cursor() as cursor:
            await cursor.execute("INSERT INTO grandchildren VALUES (9)")
    assert [(await database.fetch_shared(sql))[0]["number"] for sql in counts] == [3, 1, 1]
    assert await database.fetch_shared(kept) is not before  # a cursor may do anything
    before = await database.fetch_shared(kept)
    await database.execute("DELETE FROM parents")
    assert await database.fetch_shared(kept) is before
    await database.close()


async def test_what_is_made_of_the_rows_is_made_once(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "amda.db", ("CREATE TABLE notes (id);",))
    await database.execute("INSERT INTO notes VALUES (7)")
    made: list[int] = []

    def make(row: sqlite3.Row) -> int:
        made.append(row["id"])
        return len(made)

    sql = "SELECT id FROM notes"
    assert [await database.fetch_shared_as(make, sql) for _ in range(3)] == [[1], [1], [1]]
    assert [row["id"] for row in await database.fetch_shared(sql)] == [7]
    await database.execute("INSERT INTO notes VALUES (8)")
    assert await database.fetch_shared_as(make, sql) == [2, 3]
    assert made == [7, 7, 8]
    await database.close()
