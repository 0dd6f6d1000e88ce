"""A database of any release becomes one of today, with everything that was in it; and no released step ever changes."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from appliance import __version__
from appliance.database import Database
from appliance.migrations import MIGRATIONS
from tests.unit.migrations.freeze import FOLDER, fill, frozen, known_columns, migrated, rows, schema

CHANGELOG = Path(__file__).resolve().parents[3] / "CHANGELOG.md"
RELEASED = sorted(FOLDER.glob("*.sql"))


async def upgraded(old: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    with contextlib.closing(sqlite3.connect(path)) as file:
        old.backup(file)
    await (await Database.open(path)).close()
    return sqlite3.connect(path)


async def check(old: sqlite3.Connection, path: Path) -> None:
    known = known_columns(old)
    before = rows(old, known)
    with contextlib.closing(await upgraded(old, path)) as new:
        assert schema(new) == schema(migrated())
        assert new.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert new.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert new.execute("PRAGMA foreign_key_check").fetchall() == []
        assert rows(new, known) == before


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
async def test_a_released_database_is_migrated(file: Path, tmp_path: Path) -> None:
    with frozen(file) as old:
        await check(old, tmp_path / "amda.db")


@pytest.mark.parametrize("steps", range(1, len(MIGRATIONS) + 1))
async def test_a_database_of_any_step_is_migrated(steps: int, tmp_path: Path) -> None:
    """Nobody has to have one, but whoever follows the source may."""
    with contextlib.closing(migrated(MIGRATIONS[:steps])) as old:
        fill(old)
        await check(old, tmp_path / "amda.db")


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_a_released_step_never_changes(file: Path) -> None:
    with frozen(file) as old:
        (version,) = old.execute("PRAGMA user_version").fetchone()
        assert schema(old) == schema(migrated(MIGRATIONS[:version])), (
            f"add a step instead of changing one of {file.stem}"
        )


def test_every_release_is_written_down() -> None:
    released = re.findall(r"^## (\d\S*)$", CHANGELOG.read_text("utf-8"), re.MULTILINE)
    missing = [version for version in released if not (FOLDER / f"{version}.sql").exists()]
    assert missing == [], "python tests/unit/migrations/freeze.py"
    if __version__ in released:
        with frozen(FOLDER / f"{__version__}.sql") as old:
            assert old.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),), "a released schema has changed"
