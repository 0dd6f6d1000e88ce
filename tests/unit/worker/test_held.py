"""Files that wait for the deletion of their message: found by hash, bounded in age and size."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.protocol import CaptureSettings
from appliance.worker.held import HASH_BYTES, Held
from tests.unit.worker.test_store import Clock


def hold(held: Held, folder: Path, number: int, size: int, at: float) -> bytes:
    part = folder / f"{number}.part"
    part.write_bytes(bytes([number]) * size)
    os.utime(part, (at, at))
    name = bytes([number]) * HASH_BYTES
    held.put(part, name)
    return name


def test_what_is_held_can_be_taken_more_than_once(tmp_path: Path) -> None:
    held = Held(tmp_path, Clock())
    name = hold(held, tmp_path, 1, 10, 0.0)
    for number in range(2):
        assert held.take(name, tmp_path / f"taken{number}")
        assert (tmp_path / f"taken{number}").read_bytes() == b"\1" * 10
    assert not held.take(b"o" * HASH_BYTES, tmp_path / "taken")


def test_without_a_hash_nothing_is_taken_for_the_same(tmp_path: Path) -> None:
    held = Held(tmp_path, Clock())
    (tmp_path / "part").write_bytes(b"somebody's")
    held.put(tmp_path / "part", b"")
    assert not held.take(b"", tmp_path / "taken")


def test_age_and_size_are_bounded_together_with_remembered_messages(tmp_path: Path) -> None:
    clock = Clock()
    held = Held(tmp_path, clock)
    old = hold(held, tmp_path, 1, 10, clock.now - 2 * 3600)
    names = [hold(held, tmp_path, number, 1000, clock.now - 10 + number) for number in range(2, 7)]
    assert held.prune(CaptureSettings(keep_hours=1, keep_bytes=10_000), 0) == 1
    assert not held.take(old, tmp_path / "a")
    assert held.prune(CaptureSettings(keep_hours=1, keep_bytes=4_500), 2_000) == 3
    assert [held.take(name, tmp_path / name.hex()) for name in names] == [False, False, False, True, True]
    (tmp_path / "other.data").write_bytes(bytes(9999))
    assert held.prune(CaptureSettings(keep_bytes=0), 0) == 2
    assert (tmp_path / "other.data").exists()
