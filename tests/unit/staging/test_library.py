"""The patched copy of the engine library."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.staging.errors import LibraryError
from appliance.staging.library import WHATSAPP_ROOT_KEY, find_engine_library, write_patched_copy

ROOT = bytes(range(32))


def test_only_the_root_key_changes(tmp_path: Path) -> None:
    source, target = tmp_path / "engine.so", tmp_path / "copy.so"
    source.write_bytes(b"before" + WHATSAPP_ROOT_KEY + b"after")
    write_patched_copy(source, target, ROOT)
    assert target.read_bytes() == b"before" + ROOT + b"after"
    assert source.read_bytes() == b"before" + WHATSAPP_ROOT_KEY + b"after"
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("times", [0, 2])
def test_a_library_without_exactly_one_key_is_refused(tmp_path: Path, times: int) -> None:
    source = tmp_path / "engine.so"
    source.write_bytes(b"x" + WHATSAPP_ROOT_KEY * times)
    with pytest.raises(LibraryError, match=f"{times} times instead of once"):
        write_patched_copy(source, tmp_path / "copy.so", ROOT)


def test_a_copy_that_a_process_has_open_is_not_written_into(tmp_path: Path) -> None:
    source, target = tmp_path / "engine.so", tmp_path / "copy.so"
    source.write_bytes(WHATSAPP_ROOT_KEY)
    write_patched_copy(source, target, ROOT)
    with target.open("rb") as opened:
        write_patched_copy(source, target, bytes(32))
        assert opened.read() == ROOT


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        write_patched_copy(tmp_path / "a", tmp_path / "b", b"short")


def test_the_installed_library_holds_the_key_once() -> None:
    assert find_engine_library().read_bytes().count(WHATSAPP_ROOT_KEY) == 1


def test_an_unknown_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(LibraryError, match="riscv64"):
        find_engine_library()
