"""With a small shared library of the system: what is shared is the same for every ELF file."""

from __future__ import annotations

import _ctypes
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.worker.engine.relocations import SharedTables, create


def library() -> Path:
    """One that this process has open and that has tables: the extension module behind ctypes."""
    return Path(os.path.realpath(_ctypes.__file__))


def in_child(step: Callable[[], bool]) -> int:
    """0 yes, 1 no, 2 an error, as the engine's workers would: in a fork of this process."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if step() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def tables() -> SharedTables:
    return create()


def backed_by_the_copy() -> bool:
    return "memfd:amda-relocations" in Path("/proc/self/maps").read_text()


def test_the_first_lays_down_and_all_of_them_share(tables: SharedTables) -> None:
    def share() -> bool:
        return tables.share(library()) and backed_by_the_copy()

    assert in_child(share) == 0
    assert in_child(share) == 0
    assert not backed_by_the_copy(), "the fork server itself is left alone"


def test_what_was_laid_down_can_never_be_changed(tables: SharedTables) -> None:
    assert in_child(lambda: tables.share(library())) == 0
    for change in (lambda: os.pwrite(tables.fd, b"x", 0), lambda: os.ftruncate(tables.fd, 0)):
        with pytest.raises(PermissionError):
            change()


def test_a_copy_that_differs_is_left_alone(tables: SharedTables) -> None:
    other = create()
    assert in_child(lambda: SharedTables(os.dup(other.fd)).share(library())) == 0
    size = os.fstat(other.fd).st_size
    assert size > 0
    os.ftruncate(tables.fd, size)
    fcntl.fcntl(
        tables.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    assert in_child(lambda: tables.share(library())) == 1, "zeros, sealed by somebody who was first"


def test_one_that_was_killed_while_it_laid_down_is_followed_by_another(tables: SharedTables) -> None:
    os.pwrite(tables.fd, b"half a copy", 0)
    assert in_child(lambda: tables.share(library())) == 0


@pytest.mark.parametrize("name", ["text", "closed"])
def test_what_is_no_open_library_is_an_error(tables: SharedTables, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x7fELF nothing" * 20 if name == "text" else library().read_bytes())
    with pytest.raises(ValueError, match=r"ELF|not open"):
        tables.share(path)
