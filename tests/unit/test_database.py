"""The database: migrations, refusal of the future, transactions that are whole or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from appliance.database import SHARED_KEPT, SHARED_ROWS, Database, DatabaseError, Parameters
from appliance.migrations import MIGRATIONS


async def test_fresh_database_has_the_newest_schema_and_is_private(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "state" / "amda.db")
    try:
        row = await database.fetch_one("PRAGMA user_version")
        assert row is not None
        assert row[0] == len(MIGRATIONS)
        assert database.path.stat().st_mode & 0o777 == 0o600
        assert database.path.parent.stat().st_mode & 0o777 == 0o700
        assert await database.node_id() == await database.node_id() != ""
    finally:
        await database.close()


async def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "amda.db"
    first = ("CREATE TABLE a (x); INSERT INTO a VALUES (1);",)
    for steps in (first, first, (*first, "ALTER TABLE a ADD COLUMN y DEFAULT 7;")):
        database = await Database.open(path, steps)
        await database.close()
    assert sqlite3.connect(path).execute("SELECT x, y FROM a").fetchall() == [(1, 7)]


async def test_failed_migration_leaves_the_old_schema(tmp_path: Path) -> None:
    path = tmp_path / "amda.db"
    await (await Database.open(path, ("CREATE TABLE a (x);",))).close()
    with pytest.raises(DatabaseError, match="restore a backup"):
        await Database.open(path, ("CREATE TABLE a (x);", "CREATE TABLE b (x); CREATE TABLE a (x);"))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]


async def test_newer_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "amda.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(DatabaseError, match="newer release"):
        await Database.open(path)


async def test_damaged_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "amda.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(DatabaseError, match="restore a backup"):
        await Database.open(path)


async def test_transaction_is_rolled_back_when_its_block_fails(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "amda.db", ("CREATE TABLE a (x);",))

    async def fail_halfway() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO a VALUES (1)")
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        await fail_halfway()
    assert await database.fetch_all("SELECT * FROM a") == []
    await database.close()


async def test_concurrent_transactions_do_not_mix(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "amda.db", ("CREATE TABLE a (x); INSERT INTO a VALUES (0);",))

    async def increment() -> None:
        async with database.transaction() as connection:
            rows = list(await connection.execute_fetchall("SELECT x FROM a"))
            await asyncio.sleep(0)
            await connection.execute("UPDATE a SET x = ?", (rows[0][0] + 1,))

    await asyncio.gather(*(increment() for _ in range(20)))
    row = await database.fetch_one("SELECT x FROM a")
    assert row is not None
    assert row["x"] == 20
    await database.close()


async def test_a_cancelled_transaction_leaves_none_open(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "a.db")

    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO meta (key, value) VALUES ('cancelled', '')")

    for steps in range(12):  # wherever in the course of it the cancellation falls
        task = asyncio.create_task(write())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        async with database.transaction() as connection:
            await connection.execute("DELETE FROM meta WHERE key = 'cancelled'")
    await database.close()


async def test_what_is_committed_is_read_however_many_read_at_the_same_time(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "amda.db")
    await database._writer.execute("PRAGMA synchronous=OFF")

    async def read(turns: int) -> None:  # out of step with the others, as those who use an API are
        while True:
            await database.fetch_one("SELECT value FROM meta")
            for _ in range(turns):
                await asyncio.sleep(0)

    readers = [asyncio.create_task(read(turns)) for turns in range(8)]
    for number in range(100):
        await database.execute("INSERT INTO meta VALUES (?, 'x')", (str(number),))
        row = await database.fetch_one("SELECT count(*) FROM meta WHERE value = 'x'")
        assert row is not None
        assert row[0] == number + 1
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await database.close()


async def test_the_same_question_is_read_once_until_something_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.open(tmp_path / "amda.db")
    asked: list[str] = []
    fetch_all = database.fetch_all

    async def counted(sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        asked.append(sql)
        return await fetch_all(sql, parameters)

    monkeypatch.setattr(database, "fetch_all", counted)
    question = "SELECT key FROM meta WHERE value = ?"
    answers = await asyncio.gather(*(database.fetch_shared(question, ("x",)) for _ in range(20)))
    assert answers == [[]] * 20
    assert await database.fetch_shared(question, ("y",)) == []
    assert len(asked) == 2
    await database.execute("INSERT INTO meta VALUES ('a', 'x')")
    assert [row["key"] for row in await database.fetch_shared(question, ("x",))] == ["a"]
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO meta VALUES ('b', 'x')")
    assert [row["key"] for row in await database.fetch_shared(question, ("x",))] == ["a", "b"]
    assert len(asked) == 4
    await database.close()


async def test_what_failed_or_is_long_is_not_kept(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "amda.db")
    with pytest.raises(sqlite3.OperationalError):
        await database.fetch_shared("SELECT nothing FROM nowhere")
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= ?) SELECT i FROM n"
    assert len(await database.fetch_shared(long, (SHARED_ROWS,))) == SHARED_ROWS + 1
    assert not database._shared
    for number in range(2 * SHARED_KEPT):
        await database.fetch_shared("SELECT key FROM meta WHERE value = ?", (number,))
    assert len(database._shared) == SHARED_KEPT
    await database.close()
