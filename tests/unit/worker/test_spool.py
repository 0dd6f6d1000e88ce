"""A visible item is a complete one."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import msgspec
import pytest

from appliance.protocol import SpoolItem
from appliance.worker.spool import Spool, is_full
from tests.unit.worker.test_store import fetch


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path)
    spool.prepare()
    return spool


def names(spool: Spool) -> set[str]:
    return {path.name for path in spool.folder.iterdir()}


def test_file_becomes_an_item_with_its_real_size_and_hash(spool: Spool) -> None:
    item = fetch("i1").item
    part = spool.part("i1", 1)
    part.write_bytes(b"picture")
    done = spool.put_file(item, part)
    assert (done.size, done.sha256) == (7, hashlib.sha256(b"picture").hexdigest())
    assert names(spool) == {"i1.data", "i1.json"}
    assert msgspec.json.decode((spool.folder / "i1.json").read_bytes(), type=SpoolItem) == done
    assert spool.folder.stat().st_mode & 0o777 == 0o700


def test_text_again_overwrites_itself(spool: Spool) -> None:
    for _ in range(2):
        spool.put_text(fetch("i1").item, "hé")
    assert names(spool) == {"i1.data", "i1.json"}
    assert (spool.folder / "i1.data").read_bytes() == "hé".encode()


def test_sidecar_comes_last(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Spool._write

    def fail_on_sidecar(self: Spool, path: Path, data: bytes) -> None:
        if ".json" in path.name:
            raise OSError(errno.ENOSPC, "full")
        original(self, path, data)

    monkeypatch.setattr(Spool, "_write", fail_on_sidecar)
    with pytest.raises(OSError, match="full") as failed:
        spool.put_text(fetch("i1").item, "x")
    assert is_full(failed.value)
    assert names(spool) == {"i1.data"}, "without a sidecar it is no item"


def test_leftovers_are_removed_at_start(spool: Spool) -> None:
    spool.part("i1", 1).write_bytes(b"half")
    spool.put_text(fetch("i2").item, "x")
    spool.prepare()
    assert names(spool) == {"i2.data", "i2.json"}
