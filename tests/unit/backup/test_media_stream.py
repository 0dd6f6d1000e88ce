"""Media as one stream: an archive that any tar reads, the same bytes each time, and back into any store."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup.errors import BackupError
from appliance.backup.media import MediaStream, put_back
from appliance.media.folder import FolderStore


def key_of(content: bytes, session: str = "one") -> str:
    return f"statuses/{session}/2026-11-26/{hashlib.sha256(content).hexdigest()[:32]}.jpg"


async def filled(folder: Path, *contents: bytes) -> tuple[FolderStore, list[tuple[str, int]]]:
    store = FolderStore(folder)
    await store.prepare()
    for content in contents:
        digest = hashlib.sha256(content).hexdigest()
        await store.put(key_of(content), io.BytesIO(content), size=len(content), sha256=digest)
    return store, sorted((key_of(content), len(content)) for content in contents)


async def all_of(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def cut(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


CONTENTS = (b"", b"a", b"b" * 511, b"c" * 512, b"d" * 513, b"e" * 700_000)


async def test_there_and_back(tmp_path: Path) -> None:
    store, wanted = await filled(tmp_path / "old", *CONTENTS)
    stream = MediaStream(store, [*wanted, (key_of(b"pruned meanwhile"), 3)])
    archive = await all_of(stream.pieces())
    assert (stream.objects, stream.missing) == (len(CONTENTS), 1)
    assert archive == await all_of(MediaStream(store, wanted).pieces()), "the same bytes each time"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert [(member.name, member.size) for member in tar] == wanted
    other = FolderStore(tmp_path / "new")
    counted: list[int] = []
    assert await put_back(other, cut(archive, 1000), counted.append) == {key for key, _ in wanted}
    assert counted == list(range(1, len(CONTENTS) + 1))
    for content in CONTENTS:
        assert await all_of(other.get(key_of(content))) == content


@given(st.integers(min_value=1, max_value=3000))
async def test_pieces_of_any_size(size: int) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        store, wanted = await filled(Path(folder) / "old", b"x" * 1300, b"y")
        archive = await all_of(MediaStream(store, wanted).pieces())
        assert len(await put_back(FolderStore(Path(folder) / "new"), cut(archive, size), lambda _count: None)) == 2


@pytest.mark.parametrize("size", [0, 100])
async def test_what_is_not_what_the_index_says_ends_it(tmp_path: Path, size: int) -> None:
    store, _ = await filled(tmp_path, b"content")
    with pytest.raises(BackupError, match="not what the index says"):
        await all_of(MediaStream(store, [(key_of(b"content"), size)]).pieces())


@pytest.mark.parametrize("name", ["../../etc/passwd", "statuses/one/x.jpg", "amda.db"])
async def test_what_is_not_media_is_never_put_anywhere(tmp_path: Path, name: str) -> None:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(name))
        archive = file.getvalue()
    with pytest.raises(BackupError, match="something else than media"):
        await put_back(FolderStore(tmp_path / "new"), cut(archive, 512), lambda _count: None)
    assert list((tmp_path / "new").rglob("*")) == []


async def test_an_archive_that_breaks_off_is_told(tmp_path: Path) -> None:
    store, wanted = await filled(tmp_path / "old", b"z" * 5000)
    archive = await all_of(MediaStream(store, wanted).pieces())
    with pytest.raises(BackupError, match="breaks off"):
        await put_back(FolderStore(tmp_path / "new"), cut(archive[:3000], 512), lambda _count: None)


class PrunedWhileRead(FolderStore):
    """Objects go as soon as somebody has begun to read them."""

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        async for piece in super().get(key, offset, length):
            await super().delete([key])
            yield piece


async def test_what_is_pruned_while_it_is_read_does_not_end_it(tmp_path: Path) -> None:
    _, wanted = await filled(tmp_path / "old", b"first", b"second" * 300_000)
    stream = MediaStream(PrunedWhileRead(tmp_path / "old"), [*wanted, wanted[0]])
    archive = await all_of(stream.pieces())
    assert (stream.objects, stream.missing) == (2, 1)
    assert len(await put_back(FolderStore(tmp_path / "new"), cut(archive, 4096), lambda _count: None)) == 2
