"""Machines and the bundle that is installed on them."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.minio_server import find_minio
from tests.system.machine import Machine, MachineError, build_release, cache_folder, check_host
from tests.system.server import PUBLISHED

PYTHONS = "3.11 3.13"
"""Those of Debian 12 and 13."""


@pytest.fixture(autouse=True, scope="session")
def _host() -> None:
    try:
        check_host()
    except MachineError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it is published: installer, archive, offline bundle, checksums."""
    out = tmp_path_factory.mktemp("published")
    wheels = cache_folder() / "wheels"
    options = ["--offline", platform.machine(), "--python", PYTHONS, "--wheels", str(wheels)]
    if program := find_minio():
        options += ["--minio", str(program)]
    build_release(out, [*options, "--base-url", PUBLISHED])
    return out


@pytest.fixture(params=["bookworm", "trixie"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    with Machine(request.param, tmp_path / "machine", ("restic",)) as made:  # install.sh wants it, and has no archive
        yield made
