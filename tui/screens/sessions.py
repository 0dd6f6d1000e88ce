"""The first screen: every session in one line; what needs a person is at the top."""

from __future__ import annotations

from textual import events

from appliance.model import SessionView
from tui.actions import Place
from tui.edit import Editor
from tui.paint import Line, Pen, Tone
from tui.screens.page import Deed, Page, moved, scrolled
from tui.screens.session_list import ORDERS, ListState, column_at, row_line, title_line, visible
from tui.text import _, ngettext


class SessionsPage(Page):
    place = Place.SESSIONS

    def __init__(self) -> None:
        super().__init__(id="sessions")
        self.state = ListState()
        self._rows: list[SessionView] = []
        self._editor: Editor | None = None

    def deeds(self) -> dict[str, Deed]:
        return {
            "mark": self._mark,
            "mark-all": self._mark_all,
            "sort": self._sort,
            "reverse": self._reverse,
            "filter": self._filter,
            "problems": self._problems,
        }

    def targets(self) -> list[SessionView]:
        known = self.tui.scene.store.sessions
        if marked := [known[name] for name in sorted(self.state.marks) if name in known]:
            return marked
        return [known[self.state.cursor]] if self.state.cursor in known else []

    def editor(self) -> Editor | None:
        return self._editor

    async def edited(self, key: str) -> None:
        if self._editor is None:
            return
        self.state.words = "" if key == "escape" else self._editor.text
        if key in ("enter", "escape"):
            self._editor = None

    def back(self) -> bool:
        state = self.state
        something = bool(state.marks or state.words or state.problems)
        state.marks, state.words, state.problems = set(), "", False
        return something

    def navigate(self, key: str) -> bool:
        index = moved(key, self._index(), len(self._rows), self._room())
        if index is None:
            return False
        if self._rows:
            self.state.cursor = self._rows[index].id
        return True

    def paint(self, width: int, height: int) -> list[Line]:
        scene, state = self.tui.scene, self.state
        before = self._index()
        self._rows = rows = visible(state, scene)
        state.marks &= scene.store.sessions.keys()
        if rows and all(view.id != state.cursor for view in rows):
            state.cursor = rows[min(before, len(rows) - 1)].id
        room = self._room(height)
        state.top = scrolled(state.top, self._index(), len(rows), room)
        most = max((view.media_bytes for view in rows), default=0)
        lines = [self._choice_line(width)] if self._chosen() else []
        lines.append(title_line(state, scene, width))
        lines += [row_line(view, state, scene, width, most) for view in rows[state.top : state.top + room]]
        return lines if rows else [*lines, *self._empty(width)]

    # ---- what is done here

    def _mark(self) -> None:
        if self.state.cursor is not None:
            self.state.marks ^= {self.state.cursor}
        self.navigate("down")

    def _mark_all(self) -> None:
        names = {view.id for view in self._rows}
        self.state.marks = set() if names <= self.state.marks else self.state.marks | names

    def _sort(self) -> None:
        orders = list(ORDERS)
        self._sort_by(orders[(orders.index(self.state.order) + 1) % len(orders)])

    def _sort_by(self, order: str) -> None:
        self.state.reverse = not self.state.reverse if order == self.state.order else False
        self.state.order, self.state.top = order, 0

    def _reverse(self) -> None:
        self.state.reverse = not self.state.reverse

    def _problems(self) -> None:
        self.state.problems = not self.state.problems

    def _filter(self) -> None:
        self._editor = Editor(self.state.words, len(self.state.words))

    # ---- mouse

    def on_click(self, event: events.Click) -> None:
        event.stop()
        row = event.y - (1 if self._chosen() else 0)
        if row == 0:
            column = column_at(event.x, self.size.width)
            if column is not None and column.order:
                self._sort_by(column.order)
        elif 0 < row <= len(self._rows) - self.state.top:
            self.state.cursor = self._rows[self.state.top + row - 1].id
            if event.chain > 1:
                self.tui.call_later(self.tui.do, "open")
        self.tui.repaint()

    # ---- how it looks

    def _index(self) -> int:
        return next((index for index, view in enumerate(self._rows) if view.id == self.state.cursor), 0)

    def _room(self, height: int | None = None) -> int:
        """Rows for sessions: without titles and the line of what was chosen."""
        return max(1, (self.size.height if height is None else height) - 1 - (1 if self._chosen() else 0))

    def _chosen(self) -> bool:
        state = self.state
        return bool(self._editor is not None or state.words or state.problems or state.marks)

    def _choice_line(self, width: int) -> Line:
        """Why not everything is shown, and what is marked."""
        state, pen = self.state, Pen(self.tui.scene.glyphs)
        if self._editor is not None:
            self._editor.put(pen.put(" / ", Tone.KEY), hint=_("name, number or state; ⏎ keeps it, Esc drops it"))
        elif state.words:
            pen.put(" / ", Tone.KEY).put(state.words, Tone.STRONG)
        if state.problems:
            pen.put("  ! ", Tone.KEY).put(_("problems only"), Tone.WARN)
        if state.marks:
            words = ngettext("{count} marked", "{count} marked", len(state.marks))
            pen.put(f"  {self.tui.scene.glyphs.mark} ", Tone.ACCENT).put(words, Tone.ACCENT)
        total = len(self.tui.scene.store.sessions)
        pen.put("   " + _("{shown} of {total}").format(shown=len(self._rows), total=total), Tone.DIM)
        return pen.line(width)

    def _empty(self, width: int) -> list[Line]:
        if self.tui.scene.store.sessions and self.state.problems and not self.state.words:
            text = _("Nothing is wrong: every session is well. (Esc shows all)")
        elif self.tui.scene.store.sessions:
            text = _("Nothing matches. (Esc shows all)")
        elif self.tui.scene.store.fresh_at is None:
            text = _("Nothing is known yet.")
        else:
            text = _("There is no session yet: n creates one.")
        return [Line(), Pen().put(f"    {text}", Tone.DIM).line(width)]
