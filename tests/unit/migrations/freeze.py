"""`python tests/unit/migrations/freeze.py`: writes the schema of this release down, with a row in each table.

To be run when a release is made; what is written is never changed again. `test_released.py` migrates each of them.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from appliance import __version__
from appliance.migrations import MIGRATIONS

FOLDER: Final = Path(__file__).with_name("released")
FIRST: Final = ("objects",)
"""Tables that others refer to."""
KEY: Final = "statuses/s/1"


def migrated(steps: Sequence[str] = MIGRATIONS) -> sqlite3.Connection:
    """A database in memory after these steps."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for number, script in enumerate(steps, start=1):
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version={number};\nCOMMIT;")
    return connection


def schema(connection: sqlite3.Connection) -> list[str]:
    """Everything that was created, in words."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    return sorted(sql for (sql,) in rows)


def tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted((name for (name,) in rows), key=lambda name: (name not in FIRST, name))


def columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Those that can be written, with their types."""
    rows = connection.execute(f"PRAGMA table_xinfo({table})")
    return {name: kind for _, name, kind, _, _, _, hidden in rows if hidden == 0}


def fill(connection: sqlite3.Connection) -> None:
    """A row in each table: in every column something that fits its type."""
    for table in tables(connection):
        others = {row[3]: (row[2], row[4]) for row in connection.execute(f"PRAGMA foreign_key_list({table})")}
        kinds = columns(connection, table)
        values = {name: _value(*others.get(name, (table, name)), kind) for name, kind in kinds.items()}
        names, places = ", ".join(values), ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", list(values.values()))  # noqa: S608


def rows(connection: sqlite3.Connection, known: dict[str, dict[str, str]]) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in these columns of these tables."""
    return {
        table: connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()  # noqa: S608
        for table, names in known.items()
    }


def known_columns(connection: sqlite3.Connection) -> dict[str, dict[str, str]]:
    return {table: columns(connection, table) for table in tables(connection)}


def _value(table: str, column: str, kind: str) -> object:
    if (table, column) == ("objects", "key"):
        return KEY
    match kind.split()[0] if kind else "":
        case "INTEGER":
            return 1
        case "REAL":
            return 1.5
        case "BLOB":
            return b"\1"
    return "{}" if column in ("data", "settings", "memory", "state", "body") else f"{table}.{column}"


@contextlib.contextmanager
def frozen(file: Path) -> Iterator[sqlite3.Connection]:
    """A released database as it was."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(file.read_text("utf-8"))
        yield connection


def main() -> None:
    connection = migrated()
    fill(connection)
    FOLDER.mkdir(exist_ok=True)
    text = "\n".join(connection.iterdump())
    (FOLDER / f"{__version__}.sql").write_text(f"{text}\nPRAGMA user_version={len(MIGRATIONS)};\n", "utf-8")


if __name__ == "__main__":
    main()
