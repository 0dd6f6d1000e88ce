"""What lies above a screen for a moment: help, palette, a question, a line to type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen

from tui import actions
from tui.actions import Action, Place, Situation
from tui.edit import Editor
from tui.paint import Ground, Line, Pen, Tone, fit, wrapped
from tui.screens.page import moved, scrolled
from tui.text import _
from tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from tui.app import AmdaTui

T = TypeVar("T")

MARGIN: Final = 2
"""Cells between the frame and the edge of the terminal where there is room."""
PALETTE_HELP: Final = 3
"""Lines below the palette for what the chosen action does, in whole sentences."""


class Box(Canvas):
    """Paints its overlay's lines within a frame."""

    DEFAULT_CSS = "Box { width: auto; height: auto; }"

    def paint(self, width: int, height: int) -> list[Line]:
        overlay = self.screen
        assert isinstance(overlay, Overlay)  # noqa: S101 - a box is mounted by an overlay only
        glyphs = self.tui.scene.glyphs
        inner = overlay.content(width - 4, height - 2)[: height - 2]
        title = f" {overlay.title_text()} "
        top = Pen(glyphs).put("┌─", Tone.RULE).put(title, Tone.ACCENT)
        lines = [top.put("─" * (width - top.width - 1) + "┐", Tone.RULE).line(width, Ground.RAISED)]
        for line in inner + [Line()] * (height - 2 - len(inner)):
            pen = Pen(glyphs).put("│ ", Tone.RULE)
            for text, tone, ground in line.spans:
                pen.put(text, tone, ground or line.ground)
            lines.append(pen.to(width - 2).put(" │", Tone.RULE).line(width, Ground.RAISED))
        lines.append(Pen(glyphs).put("└" + "─" * (width - 2) + "┘", Tone.RULE).line(width, Ground.RAISED))
        return lines


class Overlay(ModalScreen[T]):
    """`content` is painted within a frame of `wanted` size, as far as the terminal has room."""

    DEFAULT_CSS = "Overlay { align: center middle; background: transparent; }"
    BINDINGS = []  # noqa: RUF012 - textual declares it so

    def __init__(self) -> None:
        super().__init__()
        self.box = Box()

    @property
    def tui(self) -> AmdaTui:
        return self.app  # type: ignore[return-value]

    def compose(self) -> ComposeResult:
        yield self.box

    def on_mount(self) -> None:
        self._measure()

    def on_resize(self) -> None:
        self._measure()

    def _measure(self) -> None:
        width, height = self.wanted()
        room = self.app.size
        self.box.styles.width = min(width + 4, room.width)
        self.box.styles.height = min(height + 2, room.height)

    def wanted(self) -> tuple[int, int]:
        raise NotImplementedError

    def title_text(self) -> str:
        raise NotImplementedError

    def content(self, width: int, height: int) -> list[Line]:
        raise NotImplementedError

    def pressed(self, key: str, character: str | None) -> None:
        raise NotImplementedError

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.pressed(event.key, event.character)
        if self.is_current:
            self.box.repaint()


class Confirm(Overlay[bool]):
    """A question about something that is hard to undo: it names the thing, and only `y` says yes."""

    def __init__(self, title: str, text: str, names: Sequence[str], yes: str) -> None:
        super().__init__()
        self._title, self._text, self._names, self._yes = title, text, names, yes

    def wanted(self) -> tuple[int, int]:
        width = min(64, self.app.size.width - 4)
        return width, len(self._lines(width))

    def title_text(self) -> str:
        return self._title

    def content(self, width: int, height: int) -> list[Line]:
        return self._lines(width)

    def _lines(self, width: int) -> list[Line]:
        names = wrapped(", ".join(self._names), width)
        lines = [Line(), *(Pen().put(name, Tone.STRONG).line(width, Ground.RAISED) for name in names), Line()]
        lines += [Pen().put(text).line(width, Ground.RAISED) for text in wrapped(self._text, width)]
        pen = Pen().put(" y ", Tone.KEY).put(self._yes, Tone.BAD).put("    Esc ", Tone.KEY).put(_("leave it as it is"))
        return [*lines, Line(), pen.line(width, Ground.RAISED)]

    def pressed(self, key: str, character: str | None) -> None:
        if key in ("y", "Y"):
            self.dismiss(result=True)
        elif key in ("escape", "n", "q", "ctrl+c"):
            self.dismiss(result=False)


class Ask(Overlay[str | None]):
    """One line to type."""

    def __init__(self, title: str, text: str, hint: str = "", value: str = "") -> None:
        super().__init__()
        self._title, self._text, self._hint = title, text, hint
        self._editor = Editor(value, len(value))

    def wanted(self) -> tuple[int, int]:
        width = min(64, self.app.size.width - 4)
        return width, len(wrapped(self._text, width)) + 5

    def title_text(self) -> str:
        return self._title

    def content(self, width: int, height: int) -> list[Line]:
        lines = [Line(), *(Pen().put(text).line(width, Ground.RAISED) for text in wrapped(self._text, width)), Line()]
        typed = self._editor.line("› ", width, self._hint)
        keys = Pen().put("⏎ ", Tone.KEY).put(_("go on")).put("    Esc ", Tone.KEY).put(_("leave it as it is"))
        return [*lines, Line(typed.spans, Ground.PLAIN), Line(), keys.line(width, Ground.RAISED)]

    def pressed(self, key: str, character: str | None) -> None:
        if key == "enter":
            self.dismiss(self._editor.text.strip())
        elif key in ("escape", "ctrl+c"):
            self.dismiss(None)
        else:
            self._editor.key(key, character)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._editor.paste(event.text)
        self.box.repaint()


class Help(Overlay[None]):
    """Every key of a screen with what it does, and why some are off just now."""

    def __init__(self, situation: Situation) -> None:
        super().__init__()
        self._situation = situation
        self._top = 0
        self._all = 0

    def wanted(self) -> tuple[int, int]:
        width = min(92, self.app.size.width - 4)
        return width, len(help_lines(self._situation, width)) + 1

    def title_text(self) -> str:
        return _("Keys of this screen")

    def content(self, width: int, height: int) -> list[Line]:
        lines = help_lines(self._situation, width)
        self._all = len(lines)
        self._top = max(0, min(self._top, len(lines) - height + 1))
        more = _("↑ ↓ more   Esc closes") if len(lines) > height - 1 else _("Esc closes")
        return [*lines[self._top : self._top + height - 1], Pen().put(more, Tone.DIM).line(width, Ground.RAISED)]

    def pressed(self, key: str, character: str | None) -> None:
        top = moved(key, self._top, self._all, 10)
        if top is not None:
            self._top = top
        elif key in ("escape", "q", "question_mark", "enter", "f1", "ctrl+c"):
            self.dismiss(None)


def help_lines(situation: Situation, width: int) -> list[Line]:
    """The action table as a person reads it."""
    lines: list[Line] = []
    keys, label = 6, 16
    for action in actions.offered(situation.place):
        off = action.why_off(situation)
        text = _(action.help) + (" " + _("Off now: {why}").format(why=off) if off else "")
        for number, part in enumerate(wrapped(text, width - keys - label)):
            pen = Pen().cell(action.shown if not number else "", keys, Tone.OFF if off else Tone.KEY)
            pen.cell(_(action.label) if not number else "", label, Tone.OFF if off else Tone.STRONG)
            lines.append(pen.put(part, Tone.DIM if off else Tone.TEXT).line(width, Ground.RAISED))
    return lines


class Palette(Overlay[str | None]):
    """Every action by its name; the answer is the id of the one that was chosen."""

    def __init__(self, situation: Situation) -> None:
        super().__init__()
        self._situation = situation
        self._editor = Editor()
        self._index = self._top = 0

    def wanted(self) -> tuple[int, int]:
        return min(76, self.app.size.width - 4), min(24, self.app.size.height - 4)

    def title_text(self) -> str:
        return _("Everything that can be done here")

    def found(self) -> list[Action]:
        return matching(self._situation.place, self._editor.text)

    def content(self, width: int, height: int) -> list[Line]:
        found, room = self.found(), max(1, height - 2 - PALETTE_HELP)
        self._index = min(self._index, max(0, len(found) - 1))
        self._top = scrolled(self._top, self._index, len(found), room)
        typed = self._editor.line(": ", width, _("type a part of its name"))
        lines = [Line(typed.spans, Ground.PLAIN), Line()]
        for index, action in enumerate(found[self._top : self._top + room], start=self._top):
            off = action.why_off(self._situation)
            pen = Pen().cell(f" {action.shown}", 6, Tone.OFF if off else Tone.KEY)
            pen.put(fit(_(action.label), 18), Tone.OFF if off else Tone.STRONG)
            pen.put(fit(off or _(action.help), max(0, width - pen.width)), Tone.DIM)
            lines.append(pen.line(width, Ground.CURSOR if index == self._index else Ground.RAISED))
        if not found:
            return [*lines, Pen().put(_("Nothing is called so."), Tone.DIM).line(width, Ground.RAISED)]
        chosen = found[self._index]
        whole = wrapped(chosen.why_off(self._situation) or _(chosen.help), width - 1)[: PALETTE_HELP - 1]
        lines += [Line()] * (height - len(lines) - len(whole))
        return [*lines, *(Pen().put(f" {text}", Tone.TEXT).line(width, Ground.RAISED) for text in whole)]

    def pressed(self, key: str, character: str | None) -> None:
        found = self.found()
        if key in ("down", "up", "pagedown", "pageup"):
            self._index = moved(key, self._index, len(found), 10) or 0
        elif key == "enter":
            self.dismiss(found[self._index].id if found else None)
        elif key in ("escape", "ctrl+c", "ctrl+p"):
            self.dismiss(None)
        elif self._editor.key(key, character):
            self._index = 0


def matching(place: Place, text: str) -> list[Action]:
    """Actions whose label or help has every word; those whose label begins so come first."""
    words = text.casefold().split()
    found = []
    for number, action in enumerate(actions.offered(place)):
        label = _(action.label).casefold()
        if all(word in label or word in _(action.help).casefold() for word in words):
            found.append((not label.startswith(text.casefold().strip()), number, action))
    return [action for _first, _number, action in sorted(found, key=lambda item: item[:2])]
