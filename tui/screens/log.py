"""What everybody says: the daemon, every session's process, and what happened; followed, searched, saved."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.model import SessionView
from appliance.model_history import LogLevel
from tui.actions import Place
from tui.attach import until_one_ends
from tui.edit import Editor
from tui.logbook import LEVELS, SOURCES, Logbook, Row, Source, matching, row_of, row_of_event, saved
from tui.paint import Line, Pen, Tone, plain, rule
from tui.port import Api
from tui.screens.log_lines import row_line, whole
from tui.screens.page import Deed, Page, moved, scrolled
from tui.text import _, ngettext

BEGIN_WITH: Final = 500
"""Lines and events that are there at once."""


class LogPage(Page):
    place = Place.LOG

    def __init__(self) -> None:
        super().__init__(id="log")
        self._book = Logbook()
        self._held: Sequence[Row] | None = None
        """What was there when the picture was paused."""
        self._source, self._level = Source.EVERYTHING, LogLevel.INFO
        self._rows: list[Row] = []
        self._cursor: int | None = None
        """Number of the row; None: the last one, whichever that is."""
        self._top = 0
        self._room = 10
        self._words = ""
        self._editor: Editor | None = None

    def deeds(self) -> dict[str, Deed]:
        return {
            "filter": self._filter,
            "source": self._next_source,
            "level": self._next_level,
            "follow": self._follow,
            "save": self._save,
        }

    async def live(self, api: Api) -> None:
        """Both streams, as long as the screen is open."""
        self._book.clear()
        source, level = self._source, self._level

        async def log() -> None:
            async for entry in api.logs(lines=BEGIN_WITH, follow=True, level=level, source=source.log):
                self._take(row_of(entry))

        async def events() -> None:
            newest = self.tui.scene.store.seq
            async for event in api.events(after=max(0, newest - BEGIN_WITH)):
                row = row_of_event(event)
                if level.includes(row.level):
                    self._take(row)

        await until_one_ends(*([log()] if source.has_log else []), *([events()] if source.has_events else []))

    def _take(self, row: Row) -> None:
        self._book.take(row)
        self.tui.changed()

    def targets(self) -> list[SessionView]:
        row, known = self._chosen(), self.tui.scene.store.sessions
        return [known[row.who]] if row is not None and row.who in known else []

    def copyable(self) -> str:
        row = self._chosen()
        return "" if row is None else row.text

    def editor(self) -> Editor | None:
        return self._editor

    async def edited(self, key: str) -> None:
        if self._editor is not None:
            self._words = "" if key == "escape" else self._editor.text
            if key in ("enter", "escape"):
                self._editor = None

    def back(self) -> bool:
        """First the cursor is let go, then the words."""
        had = bool(self._words) or self._cursor is not None
        if self._cursor is None:
            self._words = ""
        self._cursor = None
        return had

    def navigate(self, key: str) -> bool:
        index = moved(key, self._index(), len(self._rows), self._room)
        if index is not None and self._rows:
            self._cursor = None if index == len(self._rows) - 1 else self._rows[index].number
        return index is not None

    def paint(self, width: int, height: int) -> list[Line]:
        scene = self.tui.scene
        self._held = (self._held or tuple(self._book)) if scene.paused else None
        names = {view.id: view.name for view in scene.store.sessions.values()}
        self._rows = matching(self._book if self._held is None else self._held, self._words, names)
        chosen = self._chosen()
        below = whole(chosen, scene, names, width) if chosen is not None and self._cursor is not None else []
        self._room = max(1, height - 1 - len(below))
        self._top = scrolled(self._top, self._index(), len(self._rows), self._room)
        cursor = None if self._cursor is None else self._cursor
        shown = self._rows[self._top : self._top + self._room]
        lines = [self._title(width), *(row_line(row, cursor, scene, names, width) for row in shown)]
        if not self._rows:
            lines += [Line(), plain("    " + self._nothing(), width, Tone.DIM)]
        return [*lines, *([Line()] * (1 + self._room - len(lines))), *below]

    # ---- what is done here

    def _filter(self) -> None:
        self._editor = Editor(self._words, len(self._words))

    def _next_source(self) -> None:
        order = list(SOURCES)
        self._source = order[(order.index(self._source) + 1) % len(order)]
        self._again()

    def _next_level(self) -> None:
        order = list(LEVELS)
        self._level = order[(order.index(self._level) + 1) % len(order)]
        self._again()

    def _again(self) -> None:
        self._cursor = None
        self.tui.live(self)

    def _follow(self) -> None:
        """Stand still at the last line, or go with what comes."""
        if self._cursor is None and self._rows:
            self._cursor = self._rows[-1].number
        else:
            self._cursor = None

    async def _save(self) -> None:
        """What is shown, as a file of the person who looks; never over another one."""
        from tui.screens.overlay import Ask

        rows, now = list(self._rows), self.tui.clock()
        proposed = f"~/amda-log-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}.txt"
        words = ngettext("{count} line, as it is shown.", "{count} lines, as they are shown.", len(rows))
        asked = await self.tui.push_screen_wait(Ask(_("Save the log as"), words, value=proposed))
        if not asked:
            return
        try:
            path = await asyncio.to_thread(write_new, asked, saved(rows, now))
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.tui.say(_("Not saved: {path}: {reason}").format(path=asked, reason=reason), Tone.BAD)
            return
        self.tui.say(_("Saved: {path}").format(path=path), Tone.OK)

    # ---- how it looks

    def _index(self) -> int:
        last = max(0, len(self._rows) - 1)
        if self._cursor is None:
            return last
        return next((index for index, row in enumerate(self._rows) if row.number >= self._cursor), last)

    def _chosen(self) -> Row | None:
        return self._rows[min(self._index(), len(self._rows) - 1)] if self._rows else None

    def _nothing(self) -> str:
        return _("Nothing matches. (Esc shows all)") if self._words else _("Nothing has been written yet.")

    def _title(self, width: int) -> Line:
        glyphs = self.tui.scene.glyphs
        if self._editor is not None:
            return self._editor.put(Pen(glyphs).put(" / ", Tone.KEY)).line(width)
        follows = _("follows") if self._cursor is None else _("stands still: f follows")
        parts = [_(SOURCES[self._source]), _(LEVELS[self._level]), follows]
        if self._words:
            parts.append(f"/ {self._words} {glyphs.dot} {len(self._rows)}")
        return rule(width, glyphs, f" {glyphs.dot} ".join(parts))


def write_new(name: str, text: str) -> Path:
    """A new file that only its owner can read; where it is. Raises OSError, also if there is one already, and
    RuntimeError for a home folder that is not known."""
    path = Path(name).expanduser()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return path
