"""The interface without a terminal: keys go in, the picture comes out, and nothing is waited for that does not come."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final
from unittest import mock

from textual.pilot import Pilot

from tests.unit.tui.facts import NOW
from tui.app import AmdaTui
from tui.attach import take_snapshot
from tui.demo import DemoApi
from tui.demo_fleet import Fleet
from tui.store import Store

Run = Pilot[None]
PATIENCE_S: Final = 20.0
"""A machine that runs many tests at once is slow."""
LOOK_AGAIN_S: Final = 0.005
"""Between two looks for something: half of what the interface itself gathers changes for."""
SOON_S: Final = 0.01
"""Instead of what the interface waits lest it work too much: a test has one person, who waits for everything."""
TURNS: Final = 2000
"""Of the event loop, before an interface that always has something to do is taken for idle."""


class StillApi(DemoApi):
    """A fleet in which time passes only when the test says so: a busy machine misses nothing."""

    async def pass_time(self) -> None:
        return None

    async def later(self, seconds: float) -> None:
        """Second by second, as the simulation does it."""
        for _ in range(round(seconds)):
            await self.tell(self.fleet.step(1.0))


async def nothing_to_do(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Return once all that can be done without waiting is done.

    Textual's own way is to sleep until the process uses little CPU time, at least 40 ms for each key that is pressed,
    and a second where the machine is busy.
    """
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for _ in range(TURNS):
        await asyncio.sleep(0)  # what has come due in the meantime is made ready, too
        if not ready:
            return


@contextlib.contextmanager
def prompt() -> Iterator[None]:
    """The interface looks and paints at once, and the pilot goes on as soon as it has done so."""
    with (
        mock.patch("textual.app.wait_for_idle", nothing_to_do),
        mock.patch("textual.pilot.wait_for_idle", nothing_to_do),
        mock.patch("tui.attach.LOOK_S", SOON_S),
        mock.patch("tui.app.GATHER_S", SOON_S),
    ):
        yield


@contextlib.asynccontextmanager
async def running(
    *, size: tuple[int, int] = (120, 40), sessions: int = 60, read_only: bool = False, api: StillApi | None = None
) -> AsyncIterator[tuple[AmdaTui, Run, StillApi]]:
    api = api or StillApi(Fleet(sessions, now=NOW), step_s=0.05)
    store = Store()
    store.load(await take_snapshot(api), NOW)
    app = AmdaTui(api, store, read_only=read_only, clock=lambda: api.fleet.now)
    with prompt():
        async with app.run_test(size=size) as pilot:
            yield app, pilot, api


def picture(app: AmdaTui) -> str:
    """Everything that is on the screen, as text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


async def until(pilot: Run, check: Callable[[], bool]) -> None:
    """Let the interface work until something is so."""
    ending = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < ending, f"it never came:\n{picture(pilot.app)}"  # type: ignore[arg-type]
        await pilot.pause(LOOK_AGAIN_S)


async def heard(app: AmdaTui, pilot: Run, check: Callable[[], bool]) -> None:
    """Let the interface work until it knows something, and has had the occasion to paint it."""
    await until(pilot, check)
    app.repaint()
    await pilot.pause()
