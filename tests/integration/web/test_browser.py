"""`amda web` as a person meets it: the command, its address opened in a real browser, keys typed, the page closed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from aiohttp import web
from PIL import Image

from tests.integration.web.browser import Page, browser

PATIENCE_S = 30.0
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[str, psutil.Process]]:
    """The address that `amda web` shows, and its process; in the end it is asked to leave, and must do so in order."""
    command = (sys.executable, "-P", "-m", "appliance", "web", "--demo", "--port", "0", "--json")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            address = json.loads(await process.stdout.readline())["url"]
        yield address, psutil.Process(process.pid)
        viewers = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
        assert not any(viewer.is_running() for viewer in viewers)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_page_shows_everything_asks_nobody_else_and_takes_keys(chromium: str, tmp_path: Path) -> None:
    async with serving() as (address, process), browser(chromium, tmp_path) as page:
        await page.call("Page.navigate", url=address)
        await page.until(lambda: "55 of 60 online" in page.text)
        assert "Cheikh" in page.text
        assert await page.evaluate("location.pathname + location.search + document.cookie") == "/"
        assert await page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"Roboto Mono\"'))")
        own = urlsplit(address).netloc
        assert {urlsplit(one).netloc for one in page.requests} == {own}
        assert page.complaints == []

        await page.press("4")
        await page.until(lambda: "since yesterday" in page.text)
        picture = await page.call("Page.captureScreenshot")
        colours = Image.open(io.BytesIO(base64.b64decode(picture["data"]))).convert("RGB").getcolors(1 << 20)
        assert colours is not None
        assert len(colours) > 20, "the terminal has been drawn, not only written to"

        await page.press("q")
        await page.until_true("document.body.classList.contains('-closed')")
        assert "every session goes on" in await page.evaluate("document.querySelector('.over').innerText")
        await _gone(process)
        page.screen.reset()
        await page.evaluate("document.getElementById('again').click()")
        await page.until(lambda: "55 of 60 online" in page.text)
        assert len(process.children()) == 1


async def test_another_page_on_this_very_machine_cannot_open_the_websocket(chromium: str, tmp_path: Path) -> None:
    """It is the same site for cookies, which do not tell ports apart: the origin has to be looked at."""
    async with serving() as (address, process), browser(chromium, tmp_path) as page, stranger() as elsewhere:
        await page.call("Page.navigate", url=address)
        await page.until(lambda: "55 of 60 online" in page.text)
        await page.call("Page.navigate", url=elsewhere)
        await page.until_true(f"location.href === {json.dumps(elsewhere)}")
        await _gone(process)
        socket = f"ws://{urlsplit(address).netloc}/ws?width=80&height=24"
        assert await page.evaluate(_outcome(socket)) == "refused"
        assert process.children() == []


async def _gone(process: psutil.Process) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while process.children():  # noqa: ASYNC110 - nobody tells when another process's child has gone
            await asyncio.sleep(0.05)


def _outcome(socket: str) -> str:
    return (
        f"new Promise(done => {{ const s = new WebSocket({json.dumps(socket)});"
        " s.onopen = () => done('opened'); s.onerror = () => done('refused'); })"
    )


@contextlib.asynccontextmanager
async def stranger() -> AsyncIterator[str]:
    """Somebody else's page on another port."""

    async def empty(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", empty)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


def test_reads_what_the_terminal_shows() -> None:
    """The page of these tests can show nothing, and then says so."""
    assert Page(None).text.strip() == ""  # type: ignore[arg-type]
