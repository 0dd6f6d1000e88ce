"""amda-tui in a real pseudo-terminal: it ends with its terminal, and by a signal, in silence."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from appliance.bench.terminal import Terminal
from appliance.children import package_environment

SHOWN_S = 60.0
"""A machine that runs many tests at once is slow."""


def demo(*arguments: str, columns: int = 100, rows: int = 30, **variables: str) -> Terminal:
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    command = [sys.executable, "-P", "-m", "tui", "--demo", "--sessions", "20", *arguments]
    return Terminal(command, package_environment({**environment, **variables}), columns, rows)


def all_shown(output: bytes) -> bool:
    return output.count("●".encode()) >= 10 and b"help" in output


@pytest.mark.parametrize("way", ["hangup", "signal", "key"])
async def test_it_ends_however_it_is_left(way: str) -> None:
    terminal = demo()
    async with terminal:
        await terminal.until(all_shown, SHOWN_S)
        if way == "key":
            terminal.type("q")
            async with asyncio.timeout(SHOWN_S):
                await terminal.ended()
        elif way == "signal":
            os.kill(terminal.pid, signal.SIGTERM)
            async with asyncio.timeout(SHOWN_S):
                await terminal.ended()
        # a hangup is what leaving the block does first
    assert terminal.status == 0
    assert b"Traceback" not in terminal.output
    if way != "hangup":
        assert terminal.output.rstrip().endswith(b"\x1b[?1004l") or b"\x1b[?1049l" in terminal.output


@pytest.mark.parametrize(("term", "colours"), [("xterm-256color", b"38;5;"), ("linux", b"\x1b[")])
async def test_terminals_with_fewer_colours(term: str, colours: bytes, tmp_path: Path) -> None:
    async with demo(TERM=term, COLORTERM="", HOME=str(tmp_path)) as terminal:
        sign = b"*" if term == "linux" else "●".encode()
        await terminal.until(lambda output: output.count(sign) >= 10 and b"help" in output, SHOWN_S)
        assert colours in terminal.output
        assert b"38;2;" not in terminal.output
        if term == "linux":
            assert b"38;5;" not in terminal.output
            assert "●".encode() not in terminal.output
