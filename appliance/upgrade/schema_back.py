"""`python -m appliance.upgrade.schema_back show|back`: a database that a newer release has migrated, as it was before.

Nobody may have it open. The daemon copied it before it migrated (`database.Database.open`); that copy is the old
schema, and what has been recorded since is carried over into it, as far as the old release knows the columns: a login
that was made after the upgrade must not be lost, or its store would be taken for something left over. Where that cannot
be done, the copy alone is taken, and only if no login has changed since. The newer database is kept beside the copy.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from appliance.database import copies_of, copy_name
from appliance.database_copy import check_database, copy_database

_LOGINS: Final = "SELECT id, generation, store_url FROM {}.sessions ORDER BY id"
_OBJECTS: Final = "SELECT name, sql FROM main.sqlite_master WHERE type = ? AND name NOT LIKE 'sqlite_%'"


class SchemaError(Exception):
    """The database stays as it is; one line."""


def schema_of(database: Path) -> int:
    """`user_version`. Raises sqlite3.Error."""
    with _opened(database) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def back(database: Path, copies: Path, schema: int) -> str:
    """Give the database schema number `schema` again; what was done, in a line. Harmless if it has that already.

    Raises SchemaError, OSError, sqlite3.Error; then the database is as it was.
    """
    now = schema_of(database)
    if now == schema:
        return f"the database has schema {schema} already"
    copy = next(iter(reversed(copies_of(copies, schema))), None)
    if now < schema or copy is None:
        raise SchemaError(f"the database has schema {now}, and there is no copy of it with schema {schema} in {copies}")
    check_database(copy)
    fresh = database.with_name(f".{database.name}.back")
    fresh.unlink(missing_ok=True)
    copy_database(copy, fresh)
    try:
        carried = _carry(database, fresh)
        check_database(fresh)
    except sqlite3.Error as error:
        if not _same_logins(database, copy):
            raise SchemaError(
                f"what was recorded since {copy.name} cannot be carried back ({error}), and logins are among it"
            ) from error
        fresh.unlink()
        copy_database(copy, fresh)
        carried = 0
    copy_database(database, copies / copy_name(now))
    with _opened(database) as connection:  # so that no log of the newer database is taken for one of the older
        connection.execute("PRAGMA journal_mode=DELETE")
    fresh.replace(database)
    _sync(database.parent)
    return f"schema {schema} is back" + (f", {carried} rows carried over" if carried else f", as in {copy.name}")


def _carry(newer: Path, older: Path) -> int:
    """Put the rows of `newer` into the tables of `older`, all or none; returns how many there are."""
    with _opened(older) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("ATTACH ? AS newer", (str(newer),))
        triggers = connection.execute(_OBJECTS, ("trigger",)).fetchall()
        tables = [name for name, _ in connection.execute(_OBJECTS, ("table",)).fetchall()]
        connection.execute("BEGIN IMMEDIATE")
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER main.{_quoted(name)}")
        rows = sum(_carry_table(connection, table) for table in tables)
        if connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
            connection.execute("DELETE FROM main.sqlite_sequence")
            connection.execute(
                "INSERT INTO main.sqlite_sequence SELECT name, seq FROM newer.sqlite_sequence"
                " WHERE name IN (SELECT name FROM main.sqlite_master WHERE type = 'table')"
            )
        for _, sql in triggers:
            connection.execute(sql)
        if connection.execute("PRAGMA main.foreign_key_check").fetchone() is not None:
            raise sqlite3.IntegrityError("rows refer to others that are not there")
        connection.execute("COMMIT")
        return rows


def _carry_table(connection: sqlite3.Connection, table: str) -> int:
    """A table that the newer release has given up keeps what the copy has."""
    known = _columns(connection, "newer", table)
    columns = [column for column in _columns(connection, "main", table) if column in known]
    if not columns:
        return 0
    own, names = f"main.{_quoted(table)}", ", ".join(map(_quoted, columns))
    connection.execute(f"DELETE FROM {own}")  # noqa: S608 (names of our own schema)
    newer = f"SELECT {names} FROM newer.{_quoted(table)}"  # noqa: S608
    found = connection.execute(f"INSERT INTO {own} ({names}) {newer}")
    return found.rowcount


def _columns(connection: sqlite3.Connection, schema: str, table: str) -> list[str]:
    """Those that can be written: not the computed ones."""
    rows = connection.execute(f"PRAGMA {schema}.table_xinfo({_quoted(table)})")
    return [name for _, name, _, _, _, _, hidden in rows if hidden == 0]


def _same_logins(one: Path, other: Path) -> bool:
    with _opened(one) as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        logins = (connection.execute(_LOGINS.format(name)).fetchall() for name in ("main", "other"))
        return next(logins) == next(logins)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{database.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.upgrade.schema_back", description=__doc__)
    parser.add_argument("action", choices=("show", "back"))
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--copies", type=Path)
    parser.add_argument("--schema", type=int)
    options = parser.parse_args(arguments)
    try:
        if options.action == "show":
            answer = str(schema_of(options.database))
        else:
            answer = back(options.database, options.copies, options.schema)
    except (SchemaError, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
