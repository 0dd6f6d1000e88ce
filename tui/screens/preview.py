"""A stored picture above the screen, by half blocks, in the colours that the terminal has; any key closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual import events
from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget

from appliance.model_storage import Pixels
from tui import picture
from tui.paint import Ground, Pen, Tone, plain
from tui.text import _
from tui.widgets.canvas import strip_of

if TYPE_CHECKING:
    from tui.app import AmdaTui

CAPTION_LINES: Final = 1


class Picture(Widget):
    """The picture, and a line below that names it."""

    DEFAULT_CSS = "Picture { width: auto; height: auto; }"

    def __init__(self, pixels: Pixels, caption: str) -> None:
        super().__init__()
        self._lines = picture.rows(pixels)
        self._caption = caption
        self._wide = pixels.width
        self.styles.width, self.styles.height = pixels.width, len(self._lines) + CAPTION_LINES

    @property
    def tui(self) -> AmdaTui:
        return self.app  # type: ignore[return-value]

    def render_line(self, y: int) -> Strip:
        if y < len(self._lines):
            return Strip(self._lines[y])
        if y > len(self._lines):
            return Strip.blank(self._wide)
        pen = Pen(self.tui.scene.glyphs).put(self._caption, Tone.STRONG).put("  " + _("any key closes it"), Tone.DIM)
        return strip_of(pen.line(self._wide, Ground.RAISED), self.tui.styles_of_theme)

    @property
    def text(self) -> list[str]:
        """What is shown: for tests."""
        return [*("".join(part.text for part in line) for line in self._lines), plain(self._caption, self._wide).text]


class Preview(ModalScreen[None]):
    DEFAULT_CSS = "Preview { align: center middle; background: transparent; }"
    BINDINGS = []  # noqa: RUF012 - textual declares it so

    def __init__(self, pixels: Pixels, caption: str) -> None:
        super().__init__()
        self._picture = Picture(pixels, caption)

    def compose(self) -> ComposeResult:
        yield self._picture

    def on_key(self, event: events.Key) -> None:
        event.stop()
        event.prevent_default()
        self.dismiss(None)

    def on_click(self) -> None:
        self.dismiss(None)
