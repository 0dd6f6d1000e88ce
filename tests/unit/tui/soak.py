"""Days of a fleet in minutes before the interface: memory stays flat, and the screen says what the API says."""

from __future__ import annotations

import gc
import time
from typing import Final

import psutil

from tests.unit.tui.facts import NOW
from tests.unit.tui.gallery import QuietApi
from tests.unit.tui.rig import Run, picture, running, until
from tui.app import AmdaTui
from tui.demo_fleet import Fleet
from tui.store import Topic
from tui.words import STATES

DAY_S: Final = 24 * 3600.0
SPEED: Final = 1000.0
"""Simulated seconds in a second at most."""
STEP_S: Final = 1.0
BATCH: Final = 60
"""Steps between two moments at which the interface gets to work."""
CHECK_EVERY_S: Final = 3600.0
WARM_S: Final = 2 * CHECK_EVERY_S
"""From here on memory is compared: everything that is kept is full, every screen has been seen."""
GROWTH_MIB: Final = 6.0
"""The simulation's own ledger of what happened is in it."""
LATE: Final = frozenset({Topic.HOURS, Topic.STATUS, Topic.STORAGE})


def memory_mib() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss) / (1 << 20)


async def agree(app: AmdaTui, pilot: Run, api: QuietApi) -> None:
    """Once everything that is under way has arrived: the store, and each visible row, are what the API says."""
    store = app.scene.store
    app.hurry(Topic.SESSIONS)
    await until(pilot, lambda: store.seq == api.fleet.seq and not store.stale - LATE)
    views = {view.id: view for view in await api.sessions()}
    assert store.sessions == views
    app.repaint()
    await pilot.pause()
    names = {view.name: view for view in views.values()}
    rows = [line for line in picture(app).splitlines() if line[4:17].strip() in names]
    assert rows
    for line in rows:
        view = names[line[4:17].strip()]
        assert STATES[view.state].word in line, f"{line!r} is shown, and {view.name} is {view.state}"


async def soak(simulated_s: float, *, growth_mib: float = GROWTH_MIB) -> float:
    """Let so much time pass; how much memory has grown since it was warm, in MiB."""
    api = QuietApi(Fleet(60, now=NOW, lively=20.0), step_s=0.05)
    warm: float | None = None
    async with running(size=(120, 40), api=api) as (app, pilot, _api):
        began, passed, checked = time.monotonic(), 0.0, 0.0
        while passed < simulated_s:
            for _ in range(BATCH):
                await api.tell(api.fleet.step(STEP_S))
            passed += BATCH * STEP_S
            ahead = began + passed / SPEED - time.monotonic()
            await pilot.pause(max(0.0, ahead))
            if passed - checked >= CHECK_EVERY_S or passed >= simulated_s:
                checked = passed
                await pilot.press(*"234567", "1")
                await agree(app, pilot, api)
                if warm is None and passed >= min(WARM_S, simulated_s / 2):
                    warm = memory_mib()
        assert warm is not None
        grown = memory_mib() - warm
    assert grown <= growth_mib, f"{grown:.1f} MiB more than when it was warm"
    return grown
