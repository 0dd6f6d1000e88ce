"""The index gives back everything it was given, page by page."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.database import Database
from appliance.media.index import PAGE_LIMIT, MediaIndex, StoredAs
from tests.spool_items import captured


@pytest.mark.slow
async def test_the_largest_page_can_ask_for_one_more_to_see_whether_another_follows(tmp_path: Path) -> None:
    """It was cut to the page itself, so that the page after a full one did not exist and its items seemed lost."""
    database = await Database.open(tmp_path / "amda.db")
    index = MediaIndex(database)
    for number in range(PAGE_LIMIT + 1):
        stored = StoredAs(size=1, sha256=f"{number:064x}", mimetype="image/png")
        await index.add(captured(f"M{number}", sha256=f"{number:064x}"), f"key{number}", stored, float(number))
    found = await index.search(limit=PAGE_LIMIT + 1)
    assert [view.message_id for view in found] == [f"M{number}" for number in range(PAGE_LIMIT, -1, -1)]
    last = found[PAGE_LIMIT - 1]
    rest = await index.search(before=(last.stored_at, last.id), limit=PAGE_LIMIT + 1)
    assert [view.message_id for view in rest] == ["M0"]
    await database.close()
