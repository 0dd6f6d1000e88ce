"""The folder as a store: what it must do, in what order, and what it leaves behind: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.media.folder import FolderStore
from appliance.media.store import Leftovers, StoreError
from tests.unit.media.store_contract import check_contract, key, put


async def test_does_what_a_store_must_do(tmp_path: Path) -> None:
    await check_contract(FolderStore(tmp_path / "media"))


async def test_what_a_killed_process_left_half_written_is_found_and_removed(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    await put(store, key(1), b"whole")
    (tmp_path / ".incoming" / "half").write_bytes(b"ha")
    assert [found.key async for found in store.list_objects()] == [key(1)]
    assert await store.clear_leftovers() == Leftovers(count=1, size=2)
    assert await store.clear_leftovers() == Leftovers()


async def test_folders_go_with_their_last_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    await put(store, key(1), b"1")
    await put(store, key(2), b"2")
    await store.delete([key(1)])
    assert (tmp_path / key(2)).exists()
    await store.delete([key(2)])
    assert not (tmp_path / key(2)).parent.exists()
    await put(store, key(3), b"3")


async def test_what_the_system_refuses_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="check owner and mode"):
        await FolderStore(tmp_path / "file" / "media").prepare()
