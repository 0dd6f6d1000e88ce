"""One `amda-tui` for one open page: started with the page, ended with it, whatever happens to either."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

from appliance.children import end, package_environment, start_tethered

STOP_S: Final = 3.0
"""What it gets to end in order; it holds nothing that could be lost."""


class Viewer(AppService):
    """The process, and the two streams between it and the page."""

    def __init__(
        self,
        command: Sequence[str],
        write: Callable[[bytes], Awaitable[None]],
        tell: Callable[[str], Awaitable[None]],
        close: Callable[[], Awaitable[object]],
    ) -> None:
        async def closed() -> None:
            await close()

        super().__init__(
            "", write_bytes=write, write_str=tell, close=closed, download_manager=DownloadManager(), debug=False
        )
        self._arguments = command
        self._close = closed

    async def _open_app_process(self, width: int = 80, height: int = 24) -> asyncio.subprocess.Process:
        """Without a shell, and bound to this process: the kernel ends it if nobody else can."""
        environment = package_environment(os.environ) | self._build_environment(width, height)
        pipe = asyncio.subprocess.PIPE
        process = await start_tethered(self._arguments, environment=environment, stdin=pipe, output=pipe, errors=pipe)
        self._process, self._stdin = process, process.stdin
        return process

    async def run(self) -> None:
        """Pass on what it paints until it ends; then its page is over."""
        try:
            await super().run()
        finally:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self._close()

    async def stop(self) -> None:
        """End it; returns when it is gone."""
        if self._process is not None:
            await end(self._process, STOP_S)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
