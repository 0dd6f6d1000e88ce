"""Orders for a worker: which engine, which proxy, and nothing readable that it does not need."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.config import Settings, load_settings
from appliance.protocol import WorkerMode, WorkerSpec
from appliance.sessions.memory import Memory
from appliance.sessions.proxy import ProxyError
from appliance.sessions.registry import SessionRow, SessionSettings, store_folder
from appliance.sessions.spec import SpecError, build_spec, delete_store, engine_library, make_store, usable_proxy


def settings(folder: Path, **variables: str) -> Settings:
    return load_settings(None, {"HOME": str(folder), "AMDA_PATHS_STATE_DIR": str(folder / "state"), **variables})


def spec(settings: Settings, proxy: str | None = None) -> WorkerSpec:
    row = SessionRow(
        id="anna",
        name="Anna",
        node_id="node",
        generation=3,
        store=None,
        phone=None,
        jid=None,
        created_at=0.0,
        settings=SessionSettings(proxy=proxy),
        memory=Memory(),
    )
    store = settings.paths.sessions / "anna" / "one"
    return build_spec(settings, row, store=store, generation=4, mode=WorkerMode.PAIR)


def test_the_engine_is_found_without_loading_it(tmp_path: Path) -> None:
    library = engine_library(settings(tmp_path))
    assert library.is_file()
    assert library.suffix == ".so"
    other = settings(tmp_path, AMDA_ENGINE_LIBRARY="/opt/engine.so")
    assert engine_library(other) == Path("/opt/engine.so")


@pytest.mark.parametrize(
    ("own", "used"), [(None, "http://proxy:3128"), ("socks5://own:1080", "socks5://own:1080"), ("", None)]
)
def test_a_sessions_own_proxy_comes_before_the_appliances(tmp_path: Path, own: str | None, used: str | None) -> None:
    made = spec(settings(tmp_path, AMDA_NETWORK_PROXY="http://proxy:3128"), own)
    assert made.proxy == used
    assert not made.staging
    assert (made.generation, made.mode) == (4, WorkerMode.PAIR)


def test_in_staging_only_the_networks_own_files_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    environment = {"AMDA_NETWORK_STAGING": str(folder)}
    with pytest.raises(SpecError, match="start it"):
        spec(settings(tmp_path, **environment))
    info = {"proxy_url": "http://127.0.0.1:1", "ca_file": "/ca.pem", "library": "/copy.so", "pid": 1}
    (folder / "staging.json").write_bytes(msgspec.json.encode(info))
    environment["AMDA_NETWORK_PROXY"] = "http://proxy:3128"
    made = spec(settings(tmp_path, **environment))
    assert made.staging
    assert made.proxy == "http://127.0.0.1:1"
    assert made.readable == ("/copy.so", "/ca.pem", str(folder / "staging.json"))


def test_in_staging_a_sessions_own_proxy_must_not_lead_out(tmp_path: Path) -> None:
    where = settings(tmp_path, AMDA_NETWORK_STAGING=str(tmp_path))
    info = {"proxy_url": "http://127.0.0.1:1", "ca_file": "/ca.pem", "library": "/copy.so", "pid": 1}
    (tmp_path / "staging.json").write_bytes(msgspec.json.encode(info))
    assert spec(where, "socks5://127.0.0.1:1080").proxy == "socks5://127.0.0.1:1080"
    assert usable_proxy(where, "socks5://127.0.0.1:1080").port == 1080
    for url in ("socks5://localhost:1080", "http://203.0.113.1:3128"):
        with pytest.raises(ProxyError, match="loopback"):
            usable_proxy(where, url)
    assert usable_proxy(settings(tmp_path), "http://203.0.113.1:3128").host == "203.0.113.1"


def test_stores_are_fresh_private_and_urls(tmp_path: Path) -> None:
    where = settings(tmp_path)
    store = make_store(where, "anna", "one")
    assert store.stat().st_mode & 0o777 == 0o700
    assert store.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        make_store(where, "anna", "one")
    assert store_folder(store.as_uri()) == store
    with pytest.raises(ValueError, match="postgresql"):
        store_folder("postgresql://host/anna")
    delete_store(store)
    delete_store(store)
    assert not store.exists()
