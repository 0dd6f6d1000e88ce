"""Builds what a worker is told: it reads no configuration of its own."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from pathlib import Path
from typing import Final

import msgspec

from appliance.build import approvals_of, staging_copy
from appliance.config import Settings
from appliance.protocol import WorkerMode, WorkerSpec
from appliance.sessions.proxy import Proxy, ProxyError, parse_proxy
from appliance.sessions.registry import SessionRow

STAGING_INFO: Final = "staging.json"
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""platform.machine() → the word in the file name of the engine's library."""


class SpecError(Exception):
    """A worker cannot be described; the text names what is missing and the remedy."""


class _StagingInfo(msgspec.Struct, frozen=True):
    """What concerns a worker of a staging network's description of itself."""

    proxy_url: str
    ca_file: str
    library: str


def engine_library(settings: Settings, engine: str = "") -> Path:
    """The engine's shared library: the configured one, that of the engine in folder `engine`, or the one that came with
    the appliance. It is found without importing its package, which would load it into the daemon. Raises SpecError."""
    if settings.engine.library is not None:
        return settings.engine.library
    machine = _MACHINES.get(platform.machine())
    package = None if engine else importlib.util.find_spec("neonize")
    folder = Path(engine) / "neonize" if engine else None
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent
    if folder is None or machine is None:
        raise SpecError("there is no engine for this machine; install neonize or set engine.library")
    return folder / f"neonize-linux-{machine}.so"


def chosen_proxy(settings: Settings, row: SessionRow) -> str | None:
    """The proxy that was set for a session, or for all of them; None: there is none. On the staging network, which is
    reached through a proxy of its own, the one for all has no meaning."""
    own = row.settings.proxy
    if settings.network.staging is not None:
        return own or None
    return settings.network.proxy if own is None else own or None


def usable_proxy(settings: Settings, url: str) -> Proxy:
    """Read a proxy's URL. Raises ProxyError, also for one that would lead out of a rehearsal."""
    proxy = parse_proxy(url)
    if settings.network.staging is not None and not proxy.on_loopback:
        raise ProxyError(
            "on the staging network a proxy must be on a loopback address, so that nothing gets out",
            "Name it by its address, for example socks5://127.0.0.1:1080.",
        )
    return proxy


def build_spec(
    settings: Settings, row: SessionRow, *, store: Path, generation: int, mode: WorkerMode, engine: str = ""
) -> WorkerSpec:
    """Orders for one worker. `engine`: folder of the engine that the fork server has loaded its half of; empty: the one
    that came with the appliance. Raises SpecError if the staging network is configured and not there."""
    common = {
        "session": row.id,
        "generation": generation,
        "mode": mode,
        "session_folder": str(settings.paths.sessions / row.id),
        "store_folder": str(store),
        "capture": row.settings.capture.applied(settings.capture),
        "heartbeat_s": settings.limits.heartbeat_s,
        "memory_limit_bytes": settings.limits.worker_memory_bytes,
    }
    own = Path(engine).resolve() if engine else None
    readable = () if own is None else (str(own), str(approvals_of(own)))
    staging = settings.network.staging
    if staging is None:
        library = str(engine_library(settings, "" if own is None else str(own)))
        return WorkerSpec(
            **common,  # type: ignore[arg-type]
            engine_library=library,
            engine_approvals=None if own is None else str(approvals_of(own)),
            proxy=chosen_proxy(settings, row),
            readable=readable,
        )
    try:
        info = msgspec.json.decode((staging / STAGING_INFO).read_bytes(), type=_StagingInfo)
    except (OSError, msgspec.DecodeError) as error:
        raise SpecError(
            f"the staging network in {staging} does not run ({error}); start it: amda staging run"
        ) from error
    copy = info.library if own is None else str(staging / staging_copy(own))
    return WorkerSpec(
        **common,  # type: ignore[arg-type]
        engine_library=copy,
        staging=True,
        proxy=chosen_proxy(settings, row) or info.proxy_url,
        readable=(copy, info.ca_file, str(staging / STAGING_INFO), *readable),
    )


def make_store(settings: Settings, session: str, store: str) -> Path:
    """A fresh, empty store folder, only for us. Raises FileExistsError, OSError."""
    folder = settings.paths.sessions / session
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / store
    path.mkdir(mode=0o700)
    return path


def delete_store(path: Path) -> None:
    """Remove a store folder that no process uses any more; harmless if it is gone. Raises OSError."""
    if path.exists():
        shutil.rmtree(path)
