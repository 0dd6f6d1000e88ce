"""The rehearsals on the smallest machine: 2 GB for everything, MinIO included, and nobody is killed for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import msgspec
import pytest

from appliance.bench import chaos, fleet, media, pairing
from appliance.bench.media_choices import MediaStore

SMALL_MACHINE: Final = 2_000_000_000


class Result(Protocol):
    killed_for_memory: int

    @property
    def passed(self) -> bool: ...


REHEARSALS: Final[dict[str, Callable[[], Awaitable[Result]]]] = {
    "fleet": lambda: fleet.run(sessions=60, store=MediaStore.S3, memory_limit=SMALL_MACHINE),
    "pairing": lambda: pairing.run(users=60, disturbed=True, seed=1, store=MediaStore.S3, memory_limit=SMALL_MACHINE),
    "media": lambda: media.run(sessions=60, items=20, store=MediaStore.S3, memory_limit=SMALL_MACHINE),
    "chaos": lambda: chaos.run(sessions=60, minutes=5, seed=1, store=MediaStore.S3, memory_limit=SMALL_MACHINE),
}


@pytest.mark.minio
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="a control group of its own needs root")
@pytest.mark.parametrize("name", REHEARSALS)
async def test_two_gigabytes_are_enough(name: str) -> None:
    result = await REHEARSALS[name]()
    sys.stderr.write(msgspec.json.format(msgspec.json.encode(result)).decode() + "\n")
    assert result.passed
    assert not result.killed_for_memory
