"""A copy of the engine library that trusts the staging network instead of WhatsApp.

The engine verifies the server's Noise certificate against one root key that is compiled in. Only a copy with another
root key can ever talk to the staging network, and that copy can never talk to WhatsApp.
"""

from __future__ import annotations

import os
import platform
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from appliance.build import ENGINE_VARIABLE
from appliance.staging.errors import LibraryError

WHATSAPP_ROOT_KEY: Final = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""Public X25519 key of WhatsApp's Noise certificate authority, as whatsmeow (handshake.go) carries it."""
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""From `uname -m` to the names that Go, and so the library file, uses."""


def find_engine_library() -> Path:
    """The engine library of this environment, found without importing the engine.

    Raises LibraryError if the engine is not installed or has no library for this machine.
    """
    if own := os.environ.get(ENGINE_VARIABLE):
        return library_in(Path(own))
    spec = PathFinder.find_spec("neonize")
    if spec is None or not spec.submodule_search_locations:
        raise LibraryError("the engine (neonize) is not installed in this environment; run ./install.sh")
    return library_in(Path(next(iter(spec.submodule_search_locations))).parent)


def library_in(engine: Path) -> Path:
    """The library of an engine whose package lies in this folder. Raises LibraryError."""
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None:
        raise LibraryError(f"the engine has no library for this machine ({platform.machine()}); x86-64 and arm64 work")
    library = engine / "neonize" / f"neonize-linux-{machine}.so"
    if not library.is_file():
        raise LibraryError(f"the engine's library {library.name} is missing in {library.parent}; install neonize again")
    return library


def write_patched_copy(source: Path, target: Path, root_key: bytes) -> None:
    """Write a copy of the engine library `source` to `target` that trusts `root_key` (32 bytes).

    The copy is written beside its name and renamed, so that a process that has an older copy mapped keeps it.
    Raises LibraryError unless WhatsApp's root key occurs exactly once.
    """
    if len(root_key) != len(WHATSAPP_ROOT_KEY):
        raise ValueError(f"a root key has {len(WHATSAPP_ROOT_KEY)} bytes, not {len(root_key)}")
    content = bytearray(source.read_bytes())
    found = content.count(WHATSAPP_ROOT_KEY)
    if found != 1:
        raise LibraryError(
            f"{source.name} holds WhatsApp's root key {found} times instead of once: "
            "this version of the engine cannot be rehearsed; install the pinned one"
        )
    at = content.index(WHATSAPP_ROOT_KEY)
    content[at : at + len(root_key)] = root_key
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.chmod(0o500)
    unfinished.replace(target)
