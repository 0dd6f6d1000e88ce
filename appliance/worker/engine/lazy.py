"""Importing the engine in two halves, so that sixty workers share what one process has loaded.

The fork server calls `preload()`: the engine's protobuf classes and everything else that is only Python become
memory that its children share. The shared library is opened in the child, by `open_library()`: a Go runtime does not
survive a fork (its threads stay behind, and the child hangs silently).

The wheel's own `neonize` package is never initialised. Its `__init__` imports a client that opens the library, starts a
log thread, and pulls in Pillow, requests and libmagic: 63 MiB instead of 24 (PSS of one process, neonize 0.5.2,
CPython 3.11). A stand-in package with the same path gives its `proto` modules to the import system; the dozen C
functions that a worker needs are declared in `library.py`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import platform
import sys
import types
from pathlib import Path
from typing import Final

from appliance.build import ENGINE_VARIABLE
from appliance.worker.engine.library import Library

PACKAGE: Final = "neonize"
_PRELOADED: Final = (
    "neonize.proto.Neonize_pb2",
    "neonize.proto.waE2E.WAWebProtobufsE2E_pb2",
    "neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2",
    "appliance.worker.engine.adapter",
    "appliance.worker.engine.admission",
    "appliance.worker.main",
    "encodings.ascii",
)
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
"""From `uname -m` to the names that Go, and so the library file, uses."""


class EngineMissingError(Exception):
    """The engine is not installed, or has no library for this machine; the text says what to do."""


def package_folder() -> Path:
    """Where the engine's wheel lies, found without running any of its code. Raises EngineMissingError."""
    if own := os.environ.get(ENGINE_VARIABLE):
        folder = Path(own) / PACKAGE
        if not folder.is_dir():
            raise EngineMissingError(f"there is no engine in {own}; run: amda engine upgrade --rollback")
        return folder
    loaded = sys.modules.get(PACKAGE)
    if loaded is not None and getattr(loaded, "__path__", None):
        return Path(next(iter(loaded.__path__)))
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EngineMissingError("the engine (neonize) is not installed in this environment; run ./install.sh")
    return Path(next(iter(spec.submodule_search_locations)))


def wheel_library() -> Path:
    """The shared library that came with the wheel. Raises EngineMissingError."""
    machine = _MACHINES.get(platform.machine().lower())
    if machine is None:
        raise EngineMissingError(f"the engine has no library for this machine ({platform.machine()})")
    path = package_folder() / f"neonize-linux-{machine}.so"
    if not path.is_file():
        raise EngineMissingError(f"{path.name} is missing beside the engine; install neonize again")
    return path


@functools.cache
def installed_version() -> str:
    """Version of the wheel whose protobuf classes are in use; the library must say the same. Raises
    EngineMissingError."""
    own = os.environ.get(ENGINE_VARIABLE)
    try:
        if own:
            return next(iter(importlib.metadata.distributions(name=PACKAGE, path=[own]))).version
        return importlib.metadata.version(PACKAGE)
    except StopIteration:
        raise EngineMissingError(f"{own} does not say which version it is; install it again") from None
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineMissingError(
            "the engine (neonize) is not installed in this environment; run ./install.sh"
        ) from error


def install_package_stub() -> None:
    """Make `neonize.proto.…` importable without running `neonize/__init__.py`. Does nothing the second time."""
    if PACKAGE in sys.modules:
        return
    folder = str(package_folder())
    stub = types.ModuleType(PACKAGE, "Stand-in: gives the wheel's path to the import system, runs none of its code.")
    stub.__path__ = [folder]
    # Others ask where the wheel lies (`importlib.util.find_spec`), and are answered from a loaded module's own spec.
    stub.__spec__ = importlib.machinery.ModuleSpec(PACKAGE, None, origin=f"{folder}/__init__.py", is_package=True)
    stub.__spec__.submodule_search_locations = [folder]
    sys.modules[PACKAGE] = stub


def preload() -> None:
    """Import all that a worker needs; starts no thread and opens no library. For the fork server, before it forks.

    Raises EngineMissingError.
    """
    install_package_stub()
    for name in _PRELOADED:
        importlib.import_module(name)
    installed_version()  # found out here once: reading a wheel's metadata imports a mail parser


def open_library(path: str | Path) -> Library:
    """Open the engine in this process, for good. Raises EngineMissingError if it cannot be loaded, or if its version is
    not that of the installed protobuf classes."""
    try:
        library = Library(path)
    except OSError as error:
        raise EngineMissingError(f"the engine's library cannot be opened: {error}") from error
    expected = installed_version()
    if library.version != expected:
        raise EngineMissingError(
            f"the engine's library says version {library.version}, the installed wheel is {expected}; "
            "install both from one wheel"
        )
    return library
