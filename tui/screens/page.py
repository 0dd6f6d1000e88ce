"""What every screen is: a painted area between header and footer, with keys of its own and facts of its own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from textual import events

from appliance.model import SessionView
from tui.actions import Place
from tui.edit import Editor
from tui.paint import Line
from tui.port import Api
from tui.widgets.canvas import Canvas

Deed = Callable[[], Awaitable[None] | None]

PAGE_MARGIN: Final = 2
"""Rows that a page up or down keeps in sight."""
WHEEL: Final = 3


class Page(Canvas):
    """One screen. `place` names it for the action table; `load` reads what no store keeps."""

    place: ClassVar[Place]
    reload_s: ClassVar[float] = math.inf
    """How old what `load` has read may become while the screen is open."""

    def deeds(self) -> dict[str, Deed]:
        """What this screen does itself, by the action's id; everything else is done for it."""
        return {}

    def targets(self) -> list[SessionView]:
        """Sessions that an action is for: the marked ones, otherwise the one under the cursor."""
        return []

    def subject(self) -> str | None:
        """What else is under the cursor."""
        return None

    def copyable(self) -> str:
        """What the key for copying takes."""
        return ", ".join(view.id for view in self.targets())

    def editor(self) -> Editor | None:
        """A line that is being typed: it gets the keys first."""
        return None

    def navigate(self, key: str) -> bool:
        """A key that moves the cursor; whether it was one."""
        return False

    def opened(self) -> None:
        """It has become visible."""

    async def load(self) -> None:
        """Read what this screen shows besides the store. Raises ClientError."""

    async def live(self, api: Api) -> None:
        """Follow something as long as the screen is open. Raises ClientError."""

    def back(self) -> bool:
        """Escape: undo the last thing chosen here; False: there was nothing, so leave the screen."""
        return False

    async def edited(self, key: str) -> None:
        """A key was given to the editor: `enter` and `escape` end it."""

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        for _ in range(WHEEL):
            self.navigate("down")
        self.repaint()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        for _ in range(WHEEL):
            self.navigate("up")
        self.repaint()

    def paint(self, width: int, height: int) -> list[Line]:
        raise NotImplementedError


def moved(key: str, index: int, count: int, page: int) -> int | None:
    """Where a key takes the cursor in a list; None: it is no such key."""
    last = max(0, count - 1)
    steps = {
        "down": index + 1,
        "j": index + 1,
        "up": index - 1,
        "k": index - 1,
        "home": 0,
        "g": 0,
        "end": last,
        "G": last,
    }
    leap = max(1, page - PAGE_MARGIN)
    steps |= {"pagedown": index + leap, "ctrl+d": index + leap, "pageup": index - leap, "ctrl+u": index - leap}
    return min(last, max(0, steps[key])) if key in steps else None


def scrolled(top: int, index: int, count: int, rows: int) -> int:
    """The first row to show so that the cursor is in sight and no row is wasted."""
    top = min(top, index)
    top = max(top, index - rows + 1)
    return max(0, min(top, count - rows))
