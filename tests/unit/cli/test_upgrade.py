"""`amda upgrade` and `amda engine upgrade` on the command line: what they say, ask and return."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import app, course
from appliance.upgrade import conduct, machine
from appliance.upgrade.faults import Fault
from appliance.upgrade.journal import JournalFile
from appliance.upgrade.plan import Journal, Kind, Outcome, Place, Step

OLD, NEW = (Place(name=name, folder=f"/releases/{name}", version=name[:3]) for name in ("1.0-aa", "2.0-bb"))


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JournalFile:
    """A server, as far as these commands look at it."""
    (tmp_path / "opt" / "releases").mkdir(parents=True)
    (tmp_path / "opt" / "current").symlink_to(tmp_path / "opt" / "releases")
    (tmp_path / "amda.toml").write_text(f'[paths]\nstate_dir = "{tmp_path / "state"}"\n')
    monkeypatch.setenv("AMDA_CONFIG", str(tmp_path / "amda.toml"))
    monkeypatch.setattr(machine, "OPT", tmp_path / "opt")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(course.signal, "signal", lambda *_: None)
    return JournalFile(tmp_path / "opt" / "upgrade", Kind.RELEASE)


def run(arguments: list[str]) -> int:
    """The exit status of a command."""
    try:
        return app.run(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def journal(**changes: Any) -> Journal:
    values: dict[str, Any] = {
        "id": "x", "kind": Kind.RELEASE, "source": OLD, "target": NEW, "origin": [], "canary": 1, "watch_s": 1.0,
        "step": Step.CANARY, "driver": sys.executable, "started_at": 1.0, "updated_at": 2.0, **changes,
    }  # fmt: skip
    return Journal(**values)


def ends_with(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[Journal]:
    """Instead of the upgrade itself: its end. What it was begun with is returned."""
    begun: list[Journal] = []

    async def conducted(_machine: object, _file: object, given: Journal, show: Any) -> Journal:
        begun.append(given)
        show(given)
        return journal(**changes)

    monkeypatch.setattr(conduct, "conduct", conducted)
    return begun


@pytest.mark.parametrize("command", [["upgrade"], ["engine", "upgrade", "--to", "x.whl"]])
def test_in_a_checkout_it_says_what_cannot_be_done(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "OPT", tmp_path)
    assert run([*command, "--json"]) == 4
    error = json.loads(capsys.readouterr().err)
    assert error["error"].startswith(f"E{Fault.NOT_A_SERVER.value}: ")
    assert "checkout" in error["remedy"]


def test_status_of_nothing_and_of_one_under_way(file: JournalFile, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["upgrade", "--status"]) == 0
    assert capsys.readouterr().out == "There has been no upgrade.\n"
    file.write(journal(moved=2, of=5, backup="/backups/one"))
    assert run(["upgrade", "--status"]) == 0
    out = capsys.readouterr().out
    assert "under way, step 5 of 7: moving the first sessions" in out
    assert "2 of 5 moved" in out
    assert "/backups/one" in out
    assert run(["upgrade", "--status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == "canary"


def test_one_without_an_end_is_gone_on_with(
    file: JournalFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write(journal())
    begun = ends_with(monkeypatch, step=Step.TIDY, outcome=Outcome.DONE)
    assert run(["upgrade"]) == 0
    captured = capsys.readouterr()
    assert begun[0].step is Step.CANARY
    assert captured.out == "done: 2.0-bb\n"
    assert "[5 of 7] moving the first sessions, and watching them" in captured.err
    assert run(["engine", "upgrade", "--to", "x"]) == 4, "the other kind waits for its end"
    assert "E43" in capsys.readouterr().err


def test_one_that_failed_and_went_back_is_a_failure(
    file: JournalFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write(journal())
    failed = {"step": Step.BACK_REST, "error": "awa is not online", "remedy": "amda logs awa", "fault": 52}
    ends_with(monkeypatch, outcome=Outcome.UNDONE, **failed)
    assert run(["upgrade"]) == 1
    error = capsys.readouterr().err
    assert "E52: awa is not online; everything is 1.0-aa again" in error
    assert "amda logs awa" in error
    ends_with(monkeypatch, outcome=None, **failed)
    assert run(["upgrade"]) == 1
    assert "stuck on its way back" in capsys.readouterr().err


def test_a_rollback_asks_first_and_is_a_success(
    file: JournalFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    here = Place(name=OLD.name, folder=str(tmp_path), version=OLD.version)
    file.write(journal(step=Step.TIDY, outcome=Outcome.DONE, source=here))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    begun = ends_with(monkeypatch, step=Step.BACK_REST, outcome=Outcome.UNDONE)
    assert run(["upgrade", "--rollback"]) == 4
    assert "E57" in capsys.readouterr().err
    assert begun == []
    assert run(["upgrade", "--rollback", "--yes"]) == 0
    assert begun[0].step is Step.BACK_FORK_SERVER
    assert capsys.readouterr().out == "taken back: 1.0-aa\n"


def test_whoever_began_it_ends_it(file: JournalFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "python"
    driver.touch()
    file.write(journal(driver=str(driver)))
    executed: list[list[str]] = []

    def execv(_program: str, arguments: list[str]) -> None:
        executed.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.setattr("sys.argv", ["amda", "upgrade", "--json"])
    assert run(["upgrade", "--json"]) == 0
    assert executed == [[str(driver), "-P", "-m", "appliance", "upgrade", "--json", "--yes"]]
