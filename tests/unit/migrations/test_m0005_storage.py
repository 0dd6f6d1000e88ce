"""An index of the time before quotas is counted right once it has them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from appliance.database import Database
from appliance.media.holdings import Holdings
from appliance.media.index import MediaIndex
from appliance.migrations import MIGRATIONS
from appliance.model import Category

KEYS = ("statuses/one/2026-09-21/00.jpg", "view-once/one/2026-09-21/01.jpg")


async def test_what_was_stored_before_has_its_references_sizes_and_ages(tmp_path: Path) -> None:
    path = tmp_path / "amda.db"
    await (await Database.open(path, MIGRATIONS[:4])).close()
    with closing(sqlite3.connect(path)) as old, old:
        for number, key in enumerate(KEYS):
            old.execute("INSERT INTO objects VALUES (?, 'one', ?, ?, 100)", (key, f"hash{number}", 1000 + number))
        for number, key in enumerate((KEYS[0], KEYS[0], KEYS[1])):
            old.execute(
                "INSERT INTO media (id, session, category, kind, mimetype, size, sha256, key, message_id, chat, sender,"
                " sent_at, captured_at, stored_at)"
                " VALUES (?, 'one', ?, 'image', 'image/jpeg', 1, ?, ?, ?, '', '', 1, 1, ?)",
                (f"id{number}", key.split("/")[0], f"hash{number // 2}", key, f"M{number}", 200.0 + number),
            )
    database = await Database.open(path)
    holdings, index = Holdings(database), MediaIndex(database)
    rows = await database.fetch_all("SELECT key, refs, pins, newest_at, original_size, stored_sha256 FROM objects")
    assert [tuple(row) for row in rows] == [
        (KEYS[0], 2, 0, 201.0, 1000, "hash0"),
        (KEYS[1], 1, 0, 202.0, 1001, "hash1"),
    ]
    assert await holdings.used() == {"one": 2001}
    sums = await holdings.by_category()
    assert (sums[Category.STATUS].size, sums[Category.VIEW_ONCE].objects) == (1000, 1)

    await index.pin("id0", pinned=True)
    await holdings.release_item("id1", "deleted", 300.0)
    rows = await database.fetch_all("SELECT refs, pins FROM objects ORDER BY key")
    assert [tuple(row) for row in rows] == [(1, 1), (1, 0)], "the triggers go on counting"
    await database.close()
