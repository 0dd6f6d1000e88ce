"""A terminal multiplexer as the person's terminal: keys in, screen out, and a clipboard that OSC 52 writes to."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from appliance.children import package_environment

PATIENCE_S: Final = 60.0
LOOK_S: Final = 0.05
"""Between two looks at the screen: tmux tells nobody that it has changed."""
ENDED: Final = "its status was"


class Tmux:
    """A server of its own, so that nobody's sessions are touched; `variables` lead to the appliance."""

    def __init__(self, folder: Path, variables: Mapping[str, str], width: int, height: int, *arguments: str) -> None:
        self._socket = folder / "tmux"
        self._size = ("-x", str(width), "-y", str(height))
        self._arguments = arguments
        self._variables = dict(variables)
        self.keys_pressed = 0

    async def __aenter__(self) -> Self:
        await self._tmux("-f", os.devnull, "new-session", "-d", *self._size, "sleep infinity")
        await self._tmux("set-option", "-s", "set-clipboard", "on")
        await self._tmux("set-option", "-s", "default-terminal", "tmux-256color")
        variables = {**self._variables, "LANG": "C.UTF-8", "LANGUAGE": "en", "COLORTERM": "truecolor"}
        command = [sys.executable, "-P", "-m", "tui", *self._arguments]
        wanted = [f"{name}={value}" for name, value in {**package_environment({}), **variables}.items()]
        program = shlex.join(["env", *wanted, *command])
        await self._tmux("respawn-window", "-k", f"{program}; echo {ENDED} $?; exec sleep infinity")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tmux("kill-server")

    async def press(self, *keys: str) -> None:
        """Keys by tmux's names: `Enter`, `Escape`, `Space`, or the character."""
        for key in keys:
            self.keys_pressed += 1
            await self._tmux("send-keys", key)

    async def type(self, text: str) -> None:
        await self._tmux("send-keys", "-l", text)

    async def screen(self) -> str:
        shown = await self._tmux("capture-pane", "-p")
        assert "Traceback" not in shown, shown
        return shown

    async def until(self, words: str | Callable[[str], bool], patience_s: float = PATIENCE_S) -> str:
        """The first screen that shows the words, or satisfies the check."""
        check = words if callable(words) else lambda shown: words in shown
        ending = time.monotonic() + patience_s
        while not check(shown := await self.screen()):
            assert time.monotonic() < ending, f"it never showed {words!r}:\n{shown}"
            await asyncio.sleep(LOOK_S)
        return shown

    async def clipboard(self) -> str:
        """What was copied last."""
        return await self._tmux("show-buffer")

    async def ended(self) -> int:
        """Until the program has ended; its status."""
        shown = await self.until(ENDED)
        return int(shown.partition(ENDED)[2].split()[0])

    async def _tmux(self, *arguments: str) -> str:
        environment: Mapping[str, str] = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        process = await asyncio.create_subprocess_exec(
            *("tmux", "-u", "-S", str(self._socket), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in environment.items() if name != "TMUX"},
        )
        out, error = await process.communicate()
        assert process.returncode == 0, f"tmux {arguments[0]}: {error.decode()}"
        return out.decode()
