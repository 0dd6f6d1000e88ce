"""WhatsApp's version is read from the engine's library, or nothing is claimed."""

from __future__ import annotations

import importlib.util
import platform
import struct
from pathlib import Path

import pytest

from appliance.history.versions import whatsapp_version


def library(folder: Path, *versions: tuple[int, int, int]) -> Path:
    path = folder / "engine.so"
    path.write_bytes(b"\x7fELF" + b"".join(b"abc" + struct.pack("<III", *version) for version in versions))
    return path


def test_one_version(tmp_path: Path) -> None:
    assert whatsapp_version(library(tmp_path, (2, 3000, 7), (2, 3000, 1047769893))) == "2.3000.1047769893"


def test_none_or_more_than_one_is_not_known(tmp_path: Path) -> None:
    assert whatsapp_version(library(tmp_path)) == ""
    assert whatsapp_version(library(tmp_path, (2, 3000, 1047769893), (2, 3000, 1047769894))) == ""
    assert whatsapp_version(tmp_path / "missing.so") == ""
    (tmp_path / "empty.so").touch()
    assert whatsapp_version(tmp_path / "empty.so") == ""
    (tmp_path / "cut.so").write_bytes(struct.pack("<II", 2, 3000))
    assert whatsapp_version(tmp_path / "cut.so") == ""


def test_the_pinned_engine() -> None:
    found = importlib.util.find_spec("neonize")
    if found is None or found.origin is None or platform.machine() != "x86_64":
        pytest.skip("the engine's wheel for x86-64 is not installed")
    assert whatsapp_version(Path(found.origin).parent / "neonize-linux-amd64.so") == "2.3000.1047769893"
