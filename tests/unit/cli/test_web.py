"""`amda web` refuses what would be unsafe without having been asked for, and says what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.cli.app import run
from appliance.cli.common import CommandError
from appliance.cli.web import _door, _token

EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here
GOOD = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--host", EVERYWHERE], 4, "Leave --host out and use ssh -L"),
        (["--certificate", "x.pem"], 2, "--certificate and --key belong together"),
        (["--certificate", "x.pem", "--key", "y.pem"], 2, "certificate or key cannot be used"),
        (["--public-url", "amda.example.org"], 2, "Write it like https://amda.example.org"),
        (["--public-url", "https://amda.example.org/below"], 2, "is not the address of a server"),
        (["--token-file", "/nothing/there"], 2, "/nothing/there cannot be read"),
    ],
)
def test_refuses(arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["web", "--demo", *arguments])
    assert ended.value.code == status
    assert words in capsys.readouterr().err


def test_beyond_this_machine_it_warns_unless_it_is_encrypted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _door(EVERYWHERE, 1, None, None, None, allow_remote=True)
    assert "WARNING" in capsys.readouterr().err
    door = _door(EVERYWHERE, 1, tmp_path / "c", tmp_path / "k", None, allow_remote=True)
    assert door.secure
    assert capsys.readouterr().err == ""


def test_a_token_is_new_each_time_or_comes_from_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    assert _token(None) != _token(None)
    assert len(_token(None)) >= 43
    file = tmp_path / "token"
    file.write_text(f"{GOOD}\n")
    file.chmod(0o640)
    with pytest.raises(CommandError, match="can be read by others"):
        _token(file)
    file.chmod(0o600)
    assert _token(file) == GOOD
    for bad in ("short", "with blanks " * 4, "é" * 40, ""):
        file.write_text(bad)
        with pytest.raises(CommandError, match="at least 32 characters"):
            _token(file)
