"""The interface itself: puts header, screen and footer together, gives keys to actions, and keeps the picture true."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import locale
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar, Final, TypeVar

from textual import constants, events, work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.driver import Driver
from textual.screen import Screen

from appliance.client import ClientError
from tui import actions
from tui.actions import Place, Situation
from tui.attach import Attachment
from tui.deeds import Deeds, osc52
from tui.pages import PAGES
from tui.paint import PLAIN_GLYPHS, RICH_GLYPHS, Glyphs, Tone
from tui.port import Api, Door
from tui.scene import Scene
from tui.screens.page import Deed, Page
from tui.store import Link, Store, Topic
from tui.text import _, known
from tui.theme import THEMES, Styles
from tui.widgets.canvas import Canvas
from tui.widgets.footer import Footer
from tui.widgets.header import Banner, Header

T = TypeVar("T")

TICK_S: Final = 1.0
"""Clock and ages."""
LIVE_PAUSE_S: Final = 2.0
"""Before something that ended is followed again."""
GATHER_S: Final = 0.1
"""What changes within this time is painted at once."""


class MainScreen(Screen[None], inherit_bindings=False):
    BINDINGS: ClassVar[list[BindingType]] = []
    AUTO_FOCUS = None

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._page = page

    def compose(self) -> ComposeResult:
        yield Header()
        yield Banner()
        yield self._page
        yield Footer()


class AmdaTui(App[None], inherit_bindings=False):
    """`door`: the way to the API. `store`: may hold a snapshot already, so that the first picture is complete."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = "Page { width: 1fr; height: 1fr; } Screen { layers: base; }"

    def __init__(
        self,
        door: Door,
        store: Store,
        *,
        theme: str | None = None,
        read_only: bool = False,
        plain_glyphs: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(ansi_color=True)
        self.clock = clock
        self._store = store
        self._frozen: Store | None = None
        self._frozen_at = 0.0
        self._read_only = read_only
        self._glyphs: Glyphs = PLAIN_GLYPHS if plain_glyphs else RICH_GLYPHS
        self._attachment = Attachment(door, store, self.changed, clock)
        self._few_colours = self.console.color_system in (None, "standard")
        self._theme_name = theme or ("plain" if os.environ.get("NO_COLOR") else "dark")
        self.styles_of_theme = Styles(THEMES[self._theme_name], sixteen_colours=self._few_colours)
        self.deeds = Deeds(self)
        self._loaded_at = 0.0
        self._known: dict[Place, Page] = {}
        self._pages: list[Page] = [self.page_of(Place.SESSIONS)]
        self._painting = False

    def get_driver_class(self) -> type[Driver]:
        """Ours, unless a web server or a test brings another one."""
        if constants.DRIVER is not None:
            return super().get_driver_class()
        from tui.driver import FrugalDriver

        return FrugalDriver

    def get_default_screen(self) -> Screen[None]:
        return MainScreen(self._pages[0])

    def on_mount(self) -> None:
        self.set_interval(TICK_S, self.repaint)
        self.attach()

    @work
    async def attach(self) -> None:
        await self._attachment.run()

    # ---- what everything else asks

    @property
    def scene(self) -> Scene:
        store = self._frozen or self._store
        now = self._frozen_at if self._frozen else self.clock()
        paused = self._frozen is not None
        return Scene(store=store, now=now, glyphs=self._glyphs, paused=paused, read_only=bool(self.why_read_only()))

    def why_read_only(self) -> str:
        """Why nothing may be changed from here; empty: it may."""
        if self._read_only:
            return _("You may look, but not change anything here: it was started with --read-only.")
        caller = self._store.caller
        if caller is None or not self._store.only_looks:
            return ""
        words = _(
            "You may look, but not change anything here: to the appliance you are {who}, with the right to {scope}."
        )
        return words.format(who=caller.who, scope=caller.scope)

    @property
    def page(self) -> Page:
        return self._pages[-1]

    @property
    def place(self) -> Place:
        return self.page.place

    def situation(self) -> Situation:
        return Situation(
            place=self.place,
            targets=self.page.targets(),
            subject=self.page.subject(),
            live=self._store.link is Link.LIVE,
            read_only=self.why_read_only(),
            only_looks=self._store.only_looks,
        )

    async def ask(self, call: Callable[[Api], Awaitable[T]]) -> T:
        """One request. Raises ClientError."""
        return await self._attachment.ask(call)

    def hurry(self, *topics: Topic) -> None:
        self._attachment.hurry(*topics)

    def say(self, text: str, tone: Tone = Tone.TEXT) -> None:
        """Tell what has happened, in the footer."""
        if self.screen_stack:
            self._base.query_one(Footer).say(text, tone)

    @property
    def draws_pictures(self) -> bool:
        """Whether the terminal has the colours and the half blocks for one, and the person wants colours."""
        return not self._few_colours and self._glyphs is RICH_GLYPHS and self._theme_name != "plain"

    def copy_text(self, text: str) -> None:
        if self._driver is not None:
            self._driver.write(osc52(text))

    # ---- painting

    @property
    def _base(self) -> Screen[object]:
        return self.screen_stack[0]

    def repaint(self) -> None:
        """Everything that is visible, as far as it differs."""
        if not self.screen_stack:  # before the first screen, or after the last one
            return
        for canvas in (*self._base.query(Header), *self._base.query(Banner), self.page, *self._base.query(Footer)):
            canvas.repaint()
        if time.monotonic() - self._loaded_at >= self.page.reload_s and self._store.link is Link.LIVE:
            self.load(self.page)

    def changed(self) -> None:
        """The store has changed: paint once for all that changes together."""
        if not self._painting:
            self._painting = True
            self.set_timer(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._painting = False
        self.repaint()

    # ---- keys

    async def on_key(self, event: events.Key) -> None:
        event.stop()
        editor = self.page.editor()
        if editor is not None:
            if event.key in ("enter", "escape") or editor.key(event.key, event.character):
                await self.page.edited(event.key)
                self.repaint()
            return
        if self.page.navigate(event.key):
            self.page.repaint()
            self._base.query_one(Footer).repaint()
            return
        action = actions.find(event.key, self.place)
        if action is not None:
            self.do(action.id)

    async def on_paste(self, event: events.Paste) -> None:
        editor = self.page.editor()
        if editor is not None:
            editor.paste(event.text)
            await self.page.edited("")
            self.repaint()

    @work
    async def do(self, action_id: str) -> None:
        """Carry out an action, or say why it is off."""
        action = actions.by_id(action_id)
        if reason := action.why_off(self.situation()):
            self.say(reason, Tone.WARN)
            return
        done = self.table(self.page)[action_id]()
        if inspect.isawaitable(done):
            await done
        if self.is_running:
            self.repaint()

    def table(self, page: Page) -> dict[str, Deed]:
        """What each action is on a screen; a screen's own way comes before the common one."""
        places = {f"go-{place}": partial(self.go, place) for place in PAGES}
        own: dict[str, Deed] = {
            **places,
            "back": self._back,
            "palette": self._palette,
            "help": self._help,
            "pause": self._pause,
            "theme": self._next_theme,
            "refresh": self._refresh,
            "quit": self.exit,
        }
        return {**own, **self.deeds.table(), **page.deeds()}

    def page_of(self, place: Place) -> Page:
        """The screen, made when it is first wanted: most are never looked at."""
        if place not in self._known:
            self._known[place] = PAGES[place]()
        return self._known[place]

    async def go(self, place: Place) -> None:
        """Show another screen; going back leads through the screens in reverse."""
        page = self.page_of(place)
        if page in self._pages:
            del self._pages[self._pages.index(page) + 1 :]
        else:
            self._pages.append(page)
        await self._show_page()

    async def _back(self) -> None:
        if not self.page.back() and len(self._pages) > 1:
            self._pages.pop()
            await self._show_page()

    async def _show_page(self) -> None:
        page = self.page
        if not page.is_attached:
            await self._base.mount(page)
        for other in self._known.values():
            other.display = other is page
        page.opened()
        self.load(page)
        self.live(page)
        self.repaint()

    async def show_session(self, session: str, *, log: bool = False) -> None:
        from tui.screens.session import Section, SessionPage

        page = self.page_of(Place.SESSION)
        assert isinstance(page, SessionPage)  # noqa: S101 - that is what the table above makes
        page.show_session(session, Section.LOG if log else Section.OVERVIEW)
        await self.go(Place.SESSION)

    async def show_pairing(self, pairing: str) -> None:
        from tui.screens.pairing import PairingPage

        page = self.page_of(Place.PAIRING)
        assert isinstance(page, PairingPage)  # noqa: S101 - that is what the table above makes
        page.focus_on(pairing)
        await self.go(Place.PAIRING)

    async def change(self, call: Callable[[Api], Awaitable[T]], done: str) -> T | None:
        """Change something and say so; None if it was refused, which is said too."""
        try:
            result = await self.ask(call)
        except ClientError as error:
            self.say(f"{known(str(error))} {known(error.remedy)}".strip(), Tone.BAD)
            return None
        if done:
            self.say(done, Tone.OK)
        self.hurry(Topic.SESSIONS, Topic.PAIRINGS, Topic.STATUS)
        return result

    @work(exclusive=True, group="live")
    async def live(self, page: Page) -> None:
        """Follow what a screen follows; when the appliance is back, again."""
        while page is self.page:
            with contextlib.suppress(ClientError):
                await self.ask(page.live)
            await asyncio.sleep(LIVE_PAUSE_S)

    @work(exclusive=True, group="load")
    async def load(self, page: Page) -> None:
        """Read what a screen shows besides the store; an error is said and the rest stays."""
        self._loaded_at = time.monotonic()
        try:
            await page.load()
        except ClientError as error:
            self.say(known(str(error)), Tone.BAD)
        self.repaint()

    async def _palette(self) -> None:
        from tui.screens.overlay import Palette

        chosen = await self.push_screen_wait(Palette(self.situation()))
        if chosen is not None:
            self.do(chosen)

    async def _help(self) -> None:
        from tui.screens.overlay import Help

        await self.push_screen_wait(Help(self.situation()))

    def _refresh(self) -> None:
        """Read everything anew, and send the whole picture again: another program may have written over it."""
        self.hurry(*Topic)
        if forget := getattr(self._driver, "forget", None):
            forget()
        self.refresh(layout=True)

    def _pause(self) -> None:
        self._frozen, self._frozen_at = (None, 0.0) if self._frozen else (self._store.frozen(), self.clock())

    def _next_theme(self) -> None:
        names = list(THEMES)
        self.use_theme(names[(names.index(self._theme_name) + 1) % len(names)])
        self.say(_("Theme: {name}").format(name=_(THEMES[self._theme_name].label)))

    def use_theme(self, name: str) -> None:
        self._theme_name = name
        self.styles_of_theme = Styles(THEMES[name], sixteen_colours=self._few_colours)
        for screen in self.screen_stack:
            for canvas in screen.query(Canvas):
                canvas.restyle()


async def run(door: Door, store: Store, *, theme: str | None = None, read_only: bool = False) -> None:
    """Run until somebody quits, or a signal asks for it; the terminal is given back as it was."""
    plain = os.environ.get("TERM") in ("linux", "vt100", "dumb") or "utf" not in locale.getpreferredencoding().lower()
    app = AmdaTui(door, store, theme=theme, read_only=read_only, plain_glyphs=plain)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):  # Textual leaves them alone: the terminal would stay as it is
        loop.add_signal_handler(number, app.exit)
    await app.run_async()
