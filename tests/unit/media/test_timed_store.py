"""A store with an observer does what it did before, and each call is told of once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from appliance.media.folder import FolderStore
from appliance.media.store import StoreError
from appliance.media.timed_store import TimedStore

KEY = "statuses/one/2026-11-26/0123456789abcdef0123456789abcdef.jpg"
DATA = b"x" * 600_000


class Heard:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []

    def __call__(self, store: str, operation: str, seconds: float, *, failed: bool) -> None:
        assert seconds >= 0
        self.calls.append((store, operation, failed))


async def test_every_call_is_passed_on_and_told(tmp_path: Path) -> None:
    heard = Heard()
    store = TimedStore(FolderStore(tmp_path / "media"), "folder", heard)
    await store.prepare()
    await store.put(KEY, io.BytesIO(DATA), size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
    assert b"".join([piece async for piece in store.get(KEY)]) == DATA
    assert b"".join([piece async for piece in store.get(KEY, 10, 5)]) == DATA[10:15]
    found = await store.stat(KEY)
    assert found is not None
    assert [one.key async for one in store.list_objects()] == [KEY]
    await store.delete([KEY])
    with pytest.raises(KeyError):
        _ = [piece async for piece in store.get(KEY)]
    await store.close()
    operations = [operation for _, operation, failed in heard.calls if not failed]
    assert operations == ["prepare", "put", "get", "get", "stat", "list", "delete", "get"]


async def test_a_failure_is_told_as_one(tmp_path: Path) -> None:
    heard = Heard()
    (tmp_path / "file").write_text("")
    store = TimedStore(FolderStore(tmp_path / "file" / "media"), "folder", heard)
    with pytest.raises(StoreError):
        await store.prepare()
    assert heard.calls == [("folder", "prepare", True)]
