"""Which tables a statement reads or changes: what decides how long an answer of the database may be kept.

Read from the statement's text, and on the safe side: a word that is a table's name counts as one, and what is not
understood counts as everything.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import aiosqlite
from aiosqlite.context import Result

Tables = frozenset[str]

STATEMENTS_KNOWN: Final = 512
"""Texts of statements that are looked at once; the daemon has some two hundred."""
ROWS_AT_A_TIME: Final = 64
"""What a cursor that is iterated over fetches at once: the library's own number."""
ANYTHING: Final = ""
"""Stands for statements that are not looked at: they may change every table."""
_WORD: Final = re.compile(r"\w+")
_CHANGED: Final = re.compile(r"\b(?:INTO|UPDATE(?:\s+OR\s+\w+)?|DELETE\s+FROM)\s+\"?(\w+)", re.IGNORECASE)
"""`UPDATE` stands in an upsert, too (DO UPDATE SET), and in triggers (UPDATE OF): what follows there is no table."""
_CHANGES_NOTHING: Final = re.compile(r"\s*(SELECT|BEGIN|COMMIT|ROLLBACK|PRAGMA|SAVEPOINT|RELEASE)\b", re.IGNORECASE)
_NONE_FOLLOWS: Final = frozenset({"NO ACTION", "RESTRICT"})
"""What foreign keys may say that changes nothing in their own table."""


class Schema:
    """The tables that there are, and for each what else changes with it: by triggers, by foreign keys."""

    def __init__(self, tables: Iterable[str], consequences: Mapping[str, Iterable[str]]) -> None:
        self.tables: Tables = frozenset(tables)
        self._with = {table: self._closure(table, consequences) for table in self.tables}
        self.read = functools.lru_cache(STATEMENTS_KNOWN)(self._read)
        """The tables that a question may depend on; all of them if none is recognised."""
        self.changed = functools.lru_cache(STATEMENTS_KNOWN)(self._changed)
        """The tables in which a statement may change something, also by what follows from it."""

    @classmethod
    async def of(cls, connection: aiosqlite.Connection) -> Schema:
        """Raises sqlite3.Error."""
        rows = await connection.execute_fetchall("SELECT type, name, tbl_name, sql FROM sqlite_master")
        tables = {row["name"] for row in rows if row["type"] == "table"}
        consequences: dict[str, set[str]] = {table: set() for table in tables}
        for row in rows:
            if row["type"] == "trigger":
                consequences[row["tbl_name"]].update(_CHANGED.findall(row["sql"]))
        for table in tables:
            for key in await connection.execute_fetchall(f'PRAGMA foreign_key_list("{table}")'):
                if _NONE_FOLLOWS.issuperset((key["on_delete"], key["on_update"])):
                    continue
                consequences.setdefault(key["table"], set()).add(table)
        return cls(tables, consequences)

    def _closure(self, table: str, consequences: Mapping[str, Iterable[str]]) -> Tables:
        found, ahead = set[str](), [table]
        while ahead:
            if (one := ahead.pop()) not in found and one in self.tables:
                found.add(one)
                ahead += consequences.get(one, ())
        return frozenset(found)

    def _read(self, sql: str) -> Tables:
        return self.tables.intersection(_WORD.findall(sql)) or self.tables

    def _changed(self, sql: str) -> Tables:
        if _CHANGES_NOTHING.match(sql):
            return frozenset()
        named = self.tables.intersection(_CHANGED.findall(sql))
        if not named:
            return self.tables
        return frozenset().union(*(self._with[table] for table in named))


class NotingConnection(aiosqlite.Connection):
    """Notes the statements that it is given, in `noted`; who reads them there clears them."""

    noted: list[str]

    @classmethod
    def to(cls, path: Path, **options: Any) -> Self:
        """As `aiosqlite.connect`."""
        connection = cls(functools.partial(sqlite3.connect, path, **options), ROWS_AT_A_TIME)
        connection.noted = []
        return connection

    def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Result[aiosqlite.Cursor]:
        self.noted.append(sql)
        return super().execute(sql, parameters)

    def execute_fetchall(self, sql: str, parameters: Iterable[Any] | None = None) -> Result[Iterable[sqlite3.Row]]:
        self.noted.append(sql)
        return super().execute_fetchall(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Result[aiosqlite.Cursor]:
        self.noted.append(sql)
        return super().executemany(sql, parameters)

    def executescript(self, sql_script: str) -> Result[aiosqlite.Cursor]:
        self.noted.append(ANYTHING)
        return super().executescript(sql_script)

    def cursor(self) -> Result[aiosqlite.Cursor]:
        self.noted.append(ANYTHING)
        return super().cursor()

    def execute_insert(self, sql: str, parameters: Iterable[Any] | None = None) -> Result[sqlite3.Row | None]:
        self.noted.append(sql)
        return super().execute_insert(sql, parameters)
