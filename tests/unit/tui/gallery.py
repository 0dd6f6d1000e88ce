"""Every screen of the interface on a fleet that stands still, in a size and a language: what snapshot tests look at."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from appliance import language
from appliance.model_history import LogEntry, LogLevel, LogSource
from tests.unit.tui.facts import NOW
from tests.unit.tui.rig import Run, StillApi, picture, running, until
from tui import paint
from tui.app import AmdaTui
from tui.demo_fleet import Fleet
from tui.screens import overlay
from tui.store import Topic
from tui.widgets.canvas import Canvas

SIZES: Final = ((80, 24), (120, 40), (200, 50))
LANGUAGES: Final = ("en", "fr")
THEMES: Final = ("dark", "light", "contrast", "plain")
QUIET_LOOKS: Final = 4
"""A picture that was the same so many times in a row is taken."""

_LATE: Final = frozenset({Topic.HOURS, Topic.STATUS, Topic.STORAGE})
"""Read again seldom; nothing that is done here changes them."""

Step = Callable[[AmdaTui, Run, StillApi], Awaitable[None]]


class QuietApi(StillApi):
    """Its logs have an end: no line comes while a picture is taken."""

    async def logs(
        self,
        *,
        lines: int = 200,
        follow: bool = False,
        level: LogLevel = LogLevel.INFO,
        source: LogSource | None = None,
        session: str | None = None,
    ) -> AsyncIterator[LogEntry]:
        async for entry in super().logs(lines=lines, level=level, source=source, session=session):
            yield entry
        if follow:
            await asyncio.Event().wait()


def keys(*pressed: str) -> Step:
    async def step(_app: AmdaTui, pilot: Run, _api: StillApi) -> None:
        for key in pressed:
            await pilot.press(key)

    return step


async def _code(app: AmdaTui, pilot: Run, api: StillApi) -> None:
    """A code that waits to be typed, and one that waits for its turn."""
    await api.pair("s003", phone="+221771234567")
    await api.later(3)
    await api.pair("s014", phone="+221771234568")
    app.hurry(*app.scene.store.stale)
    await pilot.press("2")
    await until(pilot, lambda: (code := (app.page.copyable())) != "" and code in picture(app))


async def _qr(app: AmdaTui, pilot: Run, api: StillApi) -> None:
    await pilot.press("c")
    await until(pilot, lambda: app.page.copyable() == "")
    await api.cancel_pairing(next(view.id for view in await api.pairings("s014")))
    await api.pair("s003")
    await api.later(3)
    await until(pilot, lambda: len(app.page.copyable()) > 20)


async def _pruning(app: AmdaTui, pilot: Run, api: StillApi) -> None:
    """Room is being made, and a part has gone."""
    await pilot.press("3", "x")
    await until(pilot, lambda: app.screen is not app.screen_stack[0])
    await pilot.press("y")
    await until(pilot, lambda: app.page.subject() is not None)
    await api.later(3)
    await until(pilot, lambda: re.search(r"11 \w+ 30", picture(app)) is not None)
    now = await api.storage()
    app.hurry(Topic.STORAGE)  # the header's gauge: otherwise it depends on how long all this has taken
    await until(pilot, lambda: (known := app.scene.store.storage) is not None and known.used == now.used)


def _unpaused(then: Step) -> Step:
    async def step(app: AmdaTui, pilot: Run, api: StillApi) -> None:
        await pilot.press("z")
        await then(app, pilot, api)

    return step


SCREENS: Final[dict[str, Step]] = {
    "sessions": keys(),
    "problems": keys("exclamation_mark", "space"),
    "confirm": keys("escape", "escape", "home", "down", "down", "down", "down", "S"),
    "palette": keys("escape", "colon"),
    "help": keys("escape", "question_mark"),
    "session": keys("escape", "home", "enter"),
    "session-ledger": keys("tab"),
    "session-media": keys("tab"),
    "session-settings": keys("tab"),
    "ask": keys("down", "down", "down", "down", "enter"),
    "session-log": keys("escape", "tab"),
    "storage": keys("3"),
    "history": keys("4"),
    "alerts": keys("5"),
    "log": keys("6"),
    "log-line": keys("up", "up"),
    "system": keys("7"),
    "paused": keys("z"),
    "code": _unpaused(_code),
    "qr": _qr,
    "storage-prune": _pruning,
}
"""In the order in which a person gets from one to the next."""


class Cuts:
    """Notes what the painters had to cut although we said it ourselves: words of ours must fit."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._ours: set[str] = set()

    def translated(self, text: str) -> str:
        self._ours.add(text)
        return text

    def fitted(self, text: str, width: int, glyphs: paint.Glyphs = paint.RICH_GLYPHS, *, right: bool = False) -> str:
        if paint.width_of(text) > width > 0 and text.strip(" ▲▼") in self._ours:
            self.found.add(f"{text!r} in {width}")
        return _fit(text, width, glyphs, right=right)


_fit = overlay.fit
"""The palette keeps this one: what it cuts of a sentence, it shows whole below."""


@contextlib.contextmanager
def speaking(name: str, cuts: Cuts):  # type: ignore[no-untyped-def]
    """The interface in a language, and what of its words is cut."""
    language.use_language(name)
    catalogue = language._Chosen.catalogue
    plain, plural = catalogue.gettext, catalogue.ngettext
    catalogue.gettext = lambda message: cuts.translated(plain(message))  # type: ignore[method-assign]
    catalogue.ngettext = lambda *given: plural(*given)  # type: ignore[method-assign]
    paint.fit = cuts.fitted  # type: ignore[assignment]
    try:
        yield
    finally:
        paint.fit = _fit
        del catalogue.gettext, catalogue.ngettext
        language.use_language("en")


async def quiet(app: AmdaTui, pilot: Run) -> str:
    """The picture, once it does not change any more."""
    seen, times = "", 0
    while times < QUIET_LOOKS:
        await pilot.pause(0.05)
        app.repaint()
        shown = picture(app)
        arriving = app.scene.store.stale - _LATE
        times = times + 1 if shown == seen and not arriving else 0
        seen = shown
    return seen


def styled(app: AmdaTui) -> str:
    """What stands for every colour and attribute on the screen."""
    strips = app.screen._compositor.render_strips()
    cells = "\n".join("".join(f"{part.text}\x1f{part.style}\x1e" for part in strip) for strip in strips)
    return hashlib.sha256(cells.encode()).hexdigest()[:12]


def overlapping(app: AmdaTui) -> list[str]:
    """Canvases of the lowest screen that cover one another, and cells that none covers."""
    regions = [canvas.region for canvas in app.screen_stack[0].query(Canvas) if canvas.display]
    wrong = [f"{one} and {other}" for one in regions for other in regions if one is not other and one.overlaps(other)]
    covered = sum(region.area for region in regions)
    return wrong if covered == app.size.area else [*wrong, f"{app.size.area - covered} cells are nobody's"]


@contextlib.asynccontextmanager
async def gallery(size: tuple[int, int]) -> AsyncIterator[tuple[AmdaTui, Run, StillApi]]:
    api = QuietApi(Fleet(60, now=NOW), step_s=0.05)
    async with running(size=size, api=api) as (app, pilot, _api):
        store = app.scene.store
        await until(pilot, lambda: not store.stale and store.storage is not None)
        yield app, pilot, api
