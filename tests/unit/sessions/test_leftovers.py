"""Folders of removed sessions go, with nothing lost; those in which anybody works stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.problems import ProblemError, unavailable
from appliance.sessions.leftovers import clean
from appliance.sessions.locks import OperationLocks
from appliance.worker.store import StoreLock


def make(sessions: Path, name: str) -> Path:
    store = sessions / name / "store1"
    (store / "spool").mkdir(parents=True)
    (store / "spool" / "item.json").write_text("{}")
    return store


async def test_only_folders_of_sessions_that_do_not_exist_go_and_only_after_they_were_drained(tmp_path: Path) -> None:
    for name in ("known", "gone", "NOT-OURS"):
        make(tmp_path, name)
    drained = []

    async def drain(session: str) -> None:
        assert (tmp_path / session / "store1" / "spool" / "item.json").exists()
        drained.append(session)

    assert await clean(tmp_path, lambda name: name == "known", drain, OperationLocks()) == ["gone"]
    assert drained == ["gone"]
    assert not (tmp_path / "gone").exists()
    assert (tmp_path / "known").is_dir()
    assert (tmp_path / "NOT-OURS").is_dir()


async def test_one_whose_worker_runs_is_never_touched(tmp_path: Path) -> None:
    lock = StoreLock(make(tmp_path, "busy"))
    lock.acquire()

    async def drain(session: str) -> None:
        raise AssertionError(session)

    assert await clean(tmp_path, lambda _: False, drain, OperationLocks()) == []
    lock.release()
    assert (tmp_path / "busy").is_dir()


@pytest.mark.parametrize("error", [unavailable("The store is away", "Try again."), OSError("broken")])
async def test_what_cannot_be_stored_stays(tmp_path: Path, error: Exception) -> None:
    make(tmp_path, "gone")

    async def drain(session: str) -> None:
        raise error

    assert await clean(tmp_path, lambda _: False, drain, OperationLocks()) == []
    assert (tmp_path / "gone").is_dir()


async def test_one_that_is_being_made_again_stays(tmp_path: Path) -> None:
    make(tmp_path, "gone")
    locks = OperationLocks()

    async def drain(session: str) -> None:
        raise ProblemError(None)  # type: ignore[arg-type]

    with locks.hold("gone", "create"):
        assert await clean(tmp_path, lambda _: False, drain, locks) == []
    assert (tmp_path / "gone").is_dir()
