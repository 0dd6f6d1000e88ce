"""The command itself: what it says when there is no terminal, and what a start does not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tui.__main__ import _token, _UsageError

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_terminal_it_names_the_commands_that_need_none() -> None:
    done = run("--demo")
    assert done.returncode == 1
    assert "needs a terminal" in done.stderr
    assert "amda status" in done.stderr


def test_help_and_mistakes() -> None:
    assert "--demo" in run("--help").stdout
    assert run("--theme", "pink").returncode == 2


def test_a_start_loads_nothing_of_the_daemon_and_no_http_library() -> None:
    program = (
        "import sys, tui.app, tui.demo, tui.screens.overlay\n"
        "print(*sorted(name for name in sys.modules if name.startswith('appliance.')))\n"
        "heavy = {'aiohttp', 'neonize', 'redis', 'typer', 'structlog', 'aiosqlite', 'PIL', 'segno', 'phonenumbers'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    ours, heavy = done.stdout.split("\n")[:2]
    assert {name.removeprefix("appliance.").split("_")[0] for name in ours.split()} <= {"client", "language", "model"}
    assert heavy == ""


def test_a_file_with_no_token_is_a_mistake(tmp_path: Path) -> None:
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_text("two words\n")
    right.write_text("amda_abc\n")
    assert _token(right) == "amda_abc"
    with pytest.raises(_UsageError, match="does not hold a token"):
        _token(wrong)
    with pytest.raises(_UsageError, match="No such file"):
        _token(tmp_path / "none")
