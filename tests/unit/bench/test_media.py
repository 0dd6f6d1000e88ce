"""The judge of the rehearsal of media must be able to say no."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from appliance.bench.media_choices import MediaStore
from appliance.bench.media_look import Looks
from appliance.bench.media_plan import SHARED_BY, Status, statuses
from appliance.bench.memory_limit import MemoryLimit
from appliance.bench.rig import BenchError
from appliance.media.compression.compressor import Compressor
from appliance.media.compression.outcome import Treatment
from appliance.media.compression.settings import CompressionSettings
from appliance.media.settings import StorageKind
from appliance.staging.control_types import SendKind
from appliance.staging.media_content import DEFAULT_MIMETYPE, make

SESSIONS = [f"session-{number}" for number in range(12)]


def test_the_plan_has_the_shares_that_are_asked_for_and_some_are_shared() -> None:
    plan = statuses(SESSIONS, 20, 1)
    assert Counter(status.kind for status in plan) == {SendKind.IMAGE: 144, SendKind.VIDEO: 72, SendKind.VOICE: 24}
    assert all(count == 20 for count in Counter(status.session for status in plan).values())
    by_file: dict[int, set[str]] = {}
    for status in plan:
        by_file.setdefault(status.seed, set()).add(status.session)
    assert max(map(len, by_file.values())) == SHARED_BY
    assert sum(1 for sessions in by_file.values() if len(sessions) == 1) > len(plan) / 2
    assert plan == statuses(SESSIONS, 20, 1)


def test_the_choices_are_those_of_the_settings() -> None:
    assert {store.value for store in MediaStore} == {kind.value for kind in StorageKind}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [(SendKind.IMAGE, 250_000), (SendKind.VIDEO, 700_000)])
async def test_looks_tell_the_same_from_another_one_and_from_a_broken_one(
    ffmpeg: str, tmp_path: Path, kind: SendKind, size: int
) -> None:
    status = Status(session="one", kind=kind, seed=7, size=size)
    media = kind.media_kind
    content = make(media, DEFAULT_MIMETYPE[media], status.seed, size)
    compressor = Compressor(CompressionSettings(), tmp_path / "work")
    source: BinaryIO
    with tempfile.TemporaryFile(buffering=0) as source:  # type: ignore[assignment]
        source.write(content)
        result = await compressor.compress(
            source, kind=media, mimetype=DEFAULT_MIMETYPE[media], size=size, sha256=hashlib.sha256(content).hexdigest()
        )
    await compressor.close()
    assert result.treatment is Treatment.COMPRESSED
    assert result.file is not None
    with result.file as file:
        smaller = file.read()
    looks = Looks(ffmpeg)
    assert await looks.difference(status, smaller, "right") == ""
    other = msgspec.structs.replace(status, seed=8)
    assert "differs" in await looks.difference(other, smaller, "another")
    assert await looks.difference(status, smaller[: len(smaller) // 2], "cut off") != ""
    larger = msgspec.structs.replace(status, size=size * 3)
    assert await looks.difference(larger, smaller, "other dimensions") != ""


def test_a_limit_that_cannot_be_set_is_told() -> None:
    limit = MemoryLimit(1 << 30)
    limit._group = Path("/proc/nonexistent/group")
    with pytest.raises(BenchError, match="run as root"):
        limit.__enter__()
