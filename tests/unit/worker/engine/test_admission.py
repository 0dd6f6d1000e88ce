"""Only tested, rehearsed or harmless libraries are opened."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from appliance.protocol import WorkerMode, WorkerSpec
from appliance.worker.engine.admission import (
    TESTED,
    WHATSAPP_ROOT_KEY,
    EngineRefusedError,
    RehearsedEngines,
    admit,
)
from appliance.worker.engine.lazy import installed_version, wheel_library

ORIGINAL = b"\x7fELF" + WHATSAPP_ROOT_KEY + b"code"
PATCHED = b"\x7fELF" + bytes(32) + b"code"


def spec(library: Path, **changes: object) -> WorkerSpec:
    base = WorkerSpec(
        session="a",
        generation=1,
        mode=WorkerMode.RUN,
        session_folder="/s",
        store_folder="/s/t",
        engine_library=str(library),
    )
    return msgspec.structs.replace(base, **changes)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "engine.so"
    path.write_bytes(ORIGINAL)
    return path


@pytest.fixture
def patched(tmp_path: Path) -> Path:
    path = tmp_path / "staging.so"
    path.write_bytes(PATCHED)
    (tmp_path / "staging.json").write_text("{}")
    return path


STAGING = {"staging": True, "proxy": "http://127.0.0.1:4000"}


def test_installed_wheel_is_tested_on_this_machine() -> None:
    assert admit(spec(wheel_library())) == installed_version()
    assert installed_version() in TESTED


def test_unknown_library_is_refused_in_one_line(original: Path) -> None:
    with pytest.raises(EngineRefusedError, match="not in the tested list") as refused:
        admit(spec(original))
    assert "\n" not in str(refused.value)
    assert "amda engine" in str(refused.value)


def test_rehearsed_library_is_accepted(original: Path, tmp_path: Path) -> None:
    record = tmp_path / "engines.json"
    digest = hashlib.sha256(ORIGINAL).hexdigest()
    record.write_bytes(msgspec.json.encode(RehearsedEngines(sha256={digest: "9.9.9"})))
    assert admit(spec(original, engine_approvals=str(record))) == "9.9.9"
    original.write_bytes(ORIGINAL + b"x")
    with pytest.raises(EngineRefusedError):
        admit(spec(original, engine_approvals=str(record)))


def test_missing_record_is_no_error_and_a_broken_one_is(original: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineRefusedError, match="tested list"):
        admit(spec(original, engine_approvals=str(tmp_path / "none.json")))
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(EngineRefusedError, match=r"broken\.json cannot be read"):
        admit(spec(original, engine_approvals=str(tmp_path / "broken.json")))


def test_library_for_another_machine_is_refused() -> None:
    with pytest.raises(EngineRefusedError):
        admit(spec(wheel_library()), machine="riscv64")


def test_staging_copy_in_its_place_is_accepted(patched: Path) -> None:
    assert admit(spec(patched, **STAGING)) == "staging"
    assert admit(spec(patched, staging=True, proxy="http://[::1]:4000")) == "staging"


@pytest.mark.parametrize("proxy", [None, "http://203.0.113.5:80", "http://localhost:80", "http://example.org", "x"])
def test_staging_copy_needs_a_loopback_proxy(patched: Path, proxy: str | None) -> None:
    with pytest.raises(EngineRefusedError, match="loopback"):
        admit(spec(patched, staging=True, proxy=proxy))


def test_staging_copy_needs_its_network_beside_it(patched: Path) -> None:
    (patched.parent / "staging.json").unlink()
    with pytest.raises(EngineRefusedError, match=r"staging\.json"):
        admit(spec(patched, **STAGING))


def test_staging_copy_outside_staging_is_refused(patched: Path) -> None:
    with pytest.raises(EngineRefusedError, match="is a staging copy"):
        admit(spec(patched))


def test_original_in_staging_is_refused(original: Path) -> None:
    (original.parent / "staging.json").write_text("{}")
    with pytest.raises(EngineRefusedError, match="would talk to WhatsApp itself"):
        admit(spec(original, **STAGING))


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineRefusedError, match="cannot be read"):
        admit(spec(tmp_path / "none.so"))
    (tmp_path / "empty.so").touch()
    with pytest.raises(EngineRefusedError, match="cannot be read"):
        admit(spec(tmp_path / "empty.so"))
