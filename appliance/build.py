"""Which code a process runs: the release's folder, and the engine's if it has one of its own.

A version alone does not say it: a release that is built twice has one version and two folders, and an engine can be
newer than the release that carries it. What an upgrade proves ("this session runs the new code") is told by this name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance import __version__

ENGINE_VARIABLE: Final = "AMDA_WORKER_ENGINE"
"""Names the folder of the engine to fork server, workers and staging network; empty: the one that came along."""
RELEASES: Final = "releases"
"""Name of the folder in which releases lie side by side (`install.sh`); engines lie in one beside it."""
_ENGINES: Final = "engines"
_CURRENT: Final = "current"
_HERE: Final = Path(__file__)


def build_name(environment: Mapping[str, str] | None = None, package: Path = _HERE) -> str:
    """The name of this code: the release's folder where it is one of several, otherwise its version; with the engine's
    folder if the environment (default: this process's) names one.

    >>> build_name({"AMDA_WORKER_ENGINE": "/amda/engines/0.5.3-1f"}, Path("/amda/releases/0.2-aa/appliance/build.py"))
    '0.2-aa+0.5.3-1f'
    """
    root = package.resolve().parents[1]
    release = root.name if root.parent.name == RELEASES else __version__
    engine = (os.environ if environment is None else environment).get(ENGINE_VARIABLE)
    return f"{release}+{Path(engine).name}" if engine else release


def current_engine(package: Path = _HERE) -> Path | None:
    """The engine that `amda engine upgrade` has put in the place of the one that came with the release; None: none."""
    root = package.resolve().parents[1]
    link = root.parents[1] / _ENGINES / _CURRENT
    return link.resolve() if root.parent.name == RELEASES and link.is_dir() else None


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a fork server: which engine to load its half of, unless the environment says it."""
    return {} if ENGINE_VARIABLE in environment else {ENGINE_VARIABLE: str(current_engine() or "")}


def approvals_of(engine: Path) -> Path:
    """The record of engines that a rehearsal on this machine has passed, beside the engines' folders."""
    return engine.parent / "approved.json"


def staging_copy(engine: Path) -> str:
    """Name of the copy of an engine's library that trusts a staging network, in that network's folder."""
    return f"staging-{engine.name}.so"
