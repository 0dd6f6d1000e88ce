"""What every store must do; the tests of each call it with their own."""

from __future__ import annotations

import hashlib
import io

import pytest

from appliance.media.store import ContentChangedError, ObjectStore

LARGE = bytes(range(256)) * 45_000
"""More than two parts of an upload to S3."""


def key(number: int, session: str = "one") -> str:
    return f"statuses/{session}/2026-09-21/{number:032x}.bin"


async def put(store: ObjectStore, name: str, data: bytes) -> None:
    await store.put(name, io.BytesIO(data), size=len(data), sha256=hashlib.sha256(data).hexdigest())


async def read(store: ObjectStore, name: str, offset: int = 0, length: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.get(name, offset, length)])


async def check_contract(store: ObjectStore) -> None:
    await store.prepare()
    await store.prepare()
    assert [found async for found in store.list_objects()] == []
    contents = {key(1): b"", key(2): b"picture", key(3): LARGE, key(1, "a-b"): b"1", key(1, "a"): b"2"}
    for name, data in contents.items():
        await put(store, name, data)
    for name, data in contents.items():
        assert await read(store, name) == data
        status = await store.stat(name)
        assert status is not None
        assert status.size == len(data)
    assert await read(store, key(3), 1_000_000, 10) == LARGE[1_000_000:1_000_010]
    assert await read(store, key(3), len(LARGE) - 5, 5) == LARGE[-5:]
    listed = [found async for found in store.list_objects()]
    assert [found.key for found in listed] == sorted(contents), "in the order of their bytes"
    assert {found.key: found.size for found in listed} == {name: len(data) for name, data in contents.items()}
    prefix = "statuses/a/"
    assert [found.key async for found in store.list_objects(prefix)] == [key(1, "a")], "not those of a-b"

    await put(store, key(2), b"another")
    assert await read(store, key(2)) == b"another", "replaced"

    for data, size in ((b"abc", 2), (b"a", 2), (LARGE, len(LARGE))):
        with pytest.raises(ContentChangedError):
            await store.put(key(9), io.BytesIO(data), size=size, sha256=hashlib.sha256(b"ab").hexdigest())
        assert await store.stat(key(9)) is None, "nothing was stored"
    assert (await store.clear_leftovers([key(9)])).count == 0, "and nothing is left of it"

    with pytest.raises(KeyError):
        await read(store, key(9))
    for name in ("../outside", "statuses/one/x", "/etc/passwd"):
        with pytest.raises(ValueError, match="not a key"):
            await put(store, name, b"x")
        with pytest.raises(ValueError, match="not a key"):
            await store.delete([name])

    await store.delete([key(1), key(9), key(3)])
    await store.delete([key(2)])
    await store.delete([])
    assert [found.key async for found in store.list_objects()] == [key(1, "a-b"), key(1, "a")]
