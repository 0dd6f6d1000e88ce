"""A real Chromium without a window, spoken to over its own protocol (Chrome DevTools Protocol, one page)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pyte

READY_S = 30.0
ANSWER_S = 30.0
ARGUMENTS = (
    "--headless=new",
    "--no-first-run",
    "--no-sandbox",  # root has no other; it opens pages of ours only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    "--remote-debugging-port=0",
    "--window-size=1000,620",
)


class Page:
    """What the browser's only page has done and shown. `requests`: addresses it has asked for; `complaints`: errors in
    its console, broken rules of the page among them; `screen`: what the terminal in it has been told to show."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._news = asyncio.Event()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.screen = pyte.Screen(80, 24)
        self._stream = pyte.ByteStream(self.screen)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(ANSWER_S):
            return await future

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is waited for."""
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def press(self, text: str) -> None:
        for letter in text:
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=letter)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Returns when it is so; looks again whenever the browser has told something."""
        async with asyncio.timeout(READY_S):
            while not reached():
                self._news.clear()
                await self._news.wait()

    async def until_true(self, expression: str) -> None:
        """The same for what only the page knows."""
        async with asyncio.timeout(READY_S):
            while not await self.evaluate(expression):  # noqa: ASYNC110 - the page tells of no change
                await asyncio.sleep(0.05)

    async def listen(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                future = self._answers.pop(told["id"])
                if not future.done():
                    future.set_result(told.get("result", told))
            else:
                self._note(told["method"], told["params"])
            self._news.set()

    def _note(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(told["url"])
                self.screen.reset()
            case "Network.webSocketFrameReceived" if told["response"]["opcode"] == 2:
                self._stream.feed(base64.b64decode(told["response"]["payloadData"]))
            case "Network.webSocketFrameSent" if told["response"]["payloadData"].startswith('["resize"'):
                size = json.loads(told["response"]["payloadData"])[1]
                self.screen.resize(size["height"], size["width"])
            case "Network.loadingFailed":
                self.complaints.append(told["errorText"])
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.complaints.append(told["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))


@contextlib.asynccontextmanager
async def browser(program: str, folder: Path) -> AsyncIterator[Page]:
    """Chromium with one empty page; ended when the context is left."""
    process = await asyncio.create_subprocess_exec(
        program, *ARGUMENTS, f"--user-data-dir={folder}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as http:
            place = f"http://127.0.0.1:{await _port(process, folder / 'DevToolsActivePort')}"
            async with http.get(f"{place}/json") as response:
                pages = [one for one in await response.json() if one["type"] == "page"]
            async with http.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                for domain in ("Network", "Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
                listening.cancel()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()


async def _port(process: asyncio.subprocess.Process, file: Path) -> int:
    """It writes the file when it listens; nothing tells when a file appears."""
    async with asyncio.timeout(READY_S):
        while (port := _written(file)) is None:
            assert process.returncode is None, "Chromium has ended at once"
            await asyncio.sleep(0.05)
    return port


def _written(file: Path) -> int | None:
    words = file.read_text().split() if file.exists() else []
    return int(words[0]) if len(words) == 2 else None
