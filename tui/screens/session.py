"""One session: its state in plain words, what to do, when it was connected, why not, media, settings, log."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from appliance.client import ApiError
from appliance.model import MediaView, SessionView
from appliance.model_capture import CaptureView
from appliance.model_history import Disconnection, LogLevel, PersonView, UptimeSpan, UptimeStrip
from tui.actions import Place
from tui.logbook import Logbook, row_of
from tui.paint import Line, Pen, Tone
from tui.port import Api
from tui.screens import session_parts as parts
from tui.screens.log_lines import log_line
from tui.screens.page import Deed, Page, moved, scrolled
from tui.screens.session_settings import Setting, setting_line, settings
from tui.text import N_, _

LOG_LINES: Final = 500
"""Kept of the live log."""
LEDGER_ROWS: Final = 200
MEDIA_ROWS: Final = 100
STRIP_PARTS: Final = 96
"""A quarter of an hour for each part of the timeline."""
RELOAD_S: Final = 15.0
_NOT_FOUND: Final = 404


class Section(enum.StrEnum):
    OVERVIEW = "overview"
    LEDGER = "ledger"
    MEDIA = "media"
    SETTINGS = "settings"
    LOG = "log"


TITLES: Final = {
    Section.OVERVIEW: N_("overview"),
    Section.LEDGER: N_("disconnections"),
    Section.MEDIA: N_("media"),
    Section.SETTINGS: N_("settings"),
    Section.LOG: N_("log"),
}


class SessionPage(Page):
    place = Place.SESSION
    reload_s = RELOAD_S

    def __init__(self) -> None:
        super().__init__(id="session")
        self.session = ""
        self.section = Section.OVERVIEW
        self._ledger: Sequence[Disconnection] = ()
        self._media: Sequence[MediaView] = ()
        self._person: PersonView | None = None
        self._capture: CaptureView | None = None
        self._settings: list[Setting] = []
        self._uptime: dict[UptimeSpan, UptimeStrip] = {}
        self._log = Logbook(LOG_LINES)
        self._index = self._top = 0
        self._room = 10

    def show_session(self, session: str, section: Section = Section.OVERVIEW) -> None:
        """Which one; what was read of another is forgotten."""
        if session != self.session:
            self._ledger, self._media, self._person, self._capture, self._uptime = (), (), None, None, {}
            self._log.clear()
        self.session, self.section = session, section
        self._index = self._top = 0

    def deeds(self) -> dict[str, Deed]:
        return {
            "section": self._next,
            "section-back": self._previous,
            "log": self._to_log,
            "use": self._use,
            "pin": self._pin,
        }

    def targets(self) -> list[SessionView]:
        view = self.tui.scene.store.sessions.get(self.session)
        return [] if view is None else [view]

    def subject(self) -> str | None:
        """The item or the setting under the cursor."""
        if self.section is Section.SETTINGS and self._settings:
            return self._settings[min(self._index, len(self._settings) - 1)].id
        item = self._item()
        return None if item is None else item.id

    def _item(self) -> MediaView | None:
        shown = self._media if self.section is Section.MEDIA else ()
        return shown[self._index] if self._index < len(shown) else None

    async def load(self) -> None:
        session = self.session
        self._ledger = (await self.tui.ask(lambda api: api.history(session=session, limit=LEDGER_ROWS))).items
        for span, count in ((UptimeSpan.DAY, STRIP_PARTS), (UptimeSpan.MONTH, 30)):
            for strip in await self.tui.ask(lambda api, s=span, n=count: api.uptime(s, session, n)):  # type: ignore[misc]
                self._uptime[span] = strip
        self._media = (await self.tui.ask(lambda api: api.media(session=session, limit=MEDIA_ROWS))).items
        try:
            self._capture = await self.tui.ask(lambda api: api.capture(session))
            self._person = await self.tui.ask(lambda api: api.person(session))
        except ApiError as error:
            if error.problem.status != _NOT_FOUND:
                raise
            self._person = None

    async def live(self, api: Api) -> None:
        """Follow the log as long as the screen is open."""
        self._log.clear()
        stream = api.logs(lines=LOG_LINES, follow=True, level=LogLevel.DEBUG, session=self.session)
        async for entry in stream:
            self._log.take(row_of(entry))
            self.tui.changed()

    def navigate(self, key: str) -> bool:
        index = moved(key, self._index, self._count(), self._room)
        if index is not None:
            self._index = index
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        view = scene.store.sessions.get(self.session)
        if view is None:
            return [Line(), Pen().put("    " + _("This session does not exist any more. (Esc)"), Tone.WARN).line(width)]
        top = [*parts.headline(view, scene, width), self._sections(width)]
        self._room = max(1, height - len(top))
        match self.section:
            case Section.OVERVIEW:
                body = self._overview(view, width, self._room)
            case Section.LEDGER:
                body = self._scrolled([parts.loss_line(row, scene, width) for row in self._ledger], width)
            case Section.MEDIA:
                chosen = self._item()
                body = self._scrolled(
                    [parts.media_line(item, scene, width, chosen=item is chosen) for item in self._media], width
                )
            case Section.SETTINGS:
                self._settings = settings(view, self._person, self._capture)
                body = self._scrolled(
                    [setting_line(row, scene, width, chosen=row.id == self.subject()) for row in self._settings], width
                )
            case Section.LOG:
                body = self._log_lines(width, self._room)
        return [*top, *body]

    # ---- what is done here

    def _next(self) -> None:
        self._turn(1)

    def _previous(self) -> None:
        self._turn(-1)

    def _turn(self, step: int) -> None:
        sections = list(Section)
        self.section = sections[(sections.index(self.section) + step) % len(sections)]
        self._index = self._top = 0

    def _to_log(self) -> None:
        self.section = Section.LOG
        self._index = self._top = 0

    async def _use(self) -> None:
        """Show the picture, change the setting."""
        item = self._item()
        if item is not None:
            await self._show(item)
        elif self.section is Section.SETTINGS:
            from tui.screens.session_change import change_setting

            await change_setting(self.tui, self.session, self._settings[self._index], self._capture)
            self.tui.load(self)

    async def _show(self, item: MediaView) -> None:
        from tui.picture import room
        from tui.screens.preview import CAPTION_LINES, Preview

        if not self.tui.draws_pictures:
            self.tui.say(_("Colours are too few here for a picture; save it: amda media export"), Tone.WARN)
            return
        size = self.tui.size
        width, height = room(size.width, size.height - CAPTION_LINES)
        pixels = await self.tui.change(lambda api: api.media_pixels(item.id, width, height), "")
        if pixels is not None:
            await self.tui.push_screen_wait(Preview(pixels, parts.caption(item, self.tui.scene)))

    async def _pin(self) -> None:
        item = self._item()
        if item is not None:
            done = _("Let go: pruning may take it.") if item.pinned else _("Pinned: no pruning takes it.")
            await self.tui.change(lambda api: api.pin_media(item.id, pinned=not item.pinned), done)
            self.tui.load(self)

    # ---- how it looks

    def _count(self) -> int:
        counts = {
            Section.LEDGER: len(self._ledger),
            Section.MEDIA: len(self._media),
            Section.SETTINGS: len(self._settings),
            Section.LOG: len(self._log),
        }
        return counts.get(self.section, 0)

    def _sections(self, width: int) -> Line:
        pen = Pen(self.tui.scene.glyphs).put(" ")
        for section, title in TITLES.items():
            chosen = section is self.section
            pen.put("[" if chosen else " ", Tone.ACCENT).put(_(title), Tone.STRONG if chosen else Tone.DIM)
            pen.put("]" if chosen else " ", Tone.ACCENT).put(" ")
        glyphs = self.tui.scene.glyphs
        return pen.put(glyphs.rule * max(0, width - pen.width), Tone.RULE).line(width)

    def _overview(self, view: SessionView, width: int, room: int) -> list[Line]:
        scene = self.tui.scene
        lines = [*parts.facts(view, scene, width), *parts.timeline(self._uptime, scene, width)]
        losses = [parts.loss_line(row, scene, width) for row in self._ledger]
        left = room - len(lines) - 1
        if left > 1:
            lines.append(parts.heading(_("last disconnections"), scene, width))
            share = min(len(losses) or 1, max(2, left // 2))
            lines += losses[:share] or [parts.nothing(_("None: it has never lost its connection."), width)]
            left -= share + 1
        if left > 1:
            lines += [parts.heading(_("log"), scene, width), *self._log_lines(width, left)]
        return lines

    def _log_lines(self, width: int, room: int) -> list[Line]:
        """The newest at the bottom; the cursor keys go back from there."""
        if not self._log:
            return [parts.nothing(_("Nothing has been written yet."), width)]
        end = len(self._log) - (self._index if self.section is Section.LOG else 0)
        shown = list(self._log)[max(0, end - room) : max(end, 1)]
        return [log_line(row, self.tui.scene, width) for row in shown]

    def _scrolled(self, lines: list[Line], width: int) -> list[Line]:
        if not lines:
            return [parts.nothing(_("There is none."), width)]
        self._top = scrolled(self._top, self._index, len(lines), self._room)
        return lines[self._top : self._top + self._room]
