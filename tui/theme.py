"""How meanings look: dark, light, high contrast, and no colour at all. Colour, sign and word always say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from rich.style import Style

from tui.paint import Ground, Tone
from tui.text import N_


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """`tones` and `grounds` are rich style definitions; `console`: the same with the sixteen colours that every
    terminal has."""

    name: str
    label: str
    tones: Mapping[Tone, str]
    grounds: Mapping[Ground, str]


_DARK: Final = Theme(
    name="dark",
    label=N_("dark"),
    tones={
        Tone.TEXT: "#d5dae3",
        Tone.STRONG: "bold #ffffff",
        Tone.DIM: "#7d8797",
        Tone.OK: "#4fc38a",
        Tone.WARN: "#e6b450",
        Tone.BAD: "bold #f2706b",
        Tone.INFO: "#6cb2f0",
        Tone.ACCENT: "bold #25d3a8",
        Tone.KEY: "bold #6cb2f0",
        Tone.OFF: "#59616f",
        Tone.RULE: "#343b48",
        Tone.BAR: "#4ba3a8",
        Tone.EMPTY: "#343b48",
    },
    grounds={
        Ground.PLAIN: "on #14171d",
        Ground.RAISED: "on #1d222b",
        Ground.CURSOR: "on #2b3a55",
        Ground.MARKED: "on #33304a",
        Ground.ALARM: "bold #ffffff on #8f2d2d",
        Ground.PAPER: "#000000 on #ffffff",
        Ground.TAB: "on #2b3a55",
    },
)
_LIGHT: Final = Theme(
    name="light",
    label=N_("light"),
    tones={
        Tone.TEXT: "#22272e",
        Tone.STRONG: "bold #000000",
        Tone.DIM: "#667080",
        Tone.OK: "#0b7a4b",
        Tone.WARN: "#8a5a00",
        Tone.BAD: "bold #b3261e",
        Tone.INFO: "#0b5cad",
        Tone.ACCENT: "bold #007a5e",
        Tone.KEY: "bold #0b5cad",
        Tone.OFF: "#9aa3b0",
        Tone.RULE: "#c9d0da",
        Tone.BAR: "#2a8288",
        Tone.EMPTY: "#c9d0da",
    },
    grounds={
        Ground.PLAIN: "on #fafbfc",
        Ground.RAISED: "on #eceff3",
        Ground.CURSOR: "on #d3e3fb",
        Ground.MARKED: "on #e6defa",
        Ground.ALARM: "bold #ffffff on #b3261e",
        Ground.PAPER: "#000000 on #ffffff",
        Ground.TAB: "on #d3e3fb",
    },
)
_CONTRAST: Final = Theme(
    name="contrast",
    label=N_("high contrast"),
    tones={
        Tone.TEXT: "#ffffff",
        Tone.STRONG: "bold #ffffff",
        Tone.DIM: "#d0d0d0",
        Tone.OK: "bold #00ff5f",
        Tone.WARN: "bold #ffff00",
        Tone.BAD: "bold #ff8787",
        Tone.INFO: "bold #5fffff",
        Tone.ACCENT: "bold #00ffff",
        Tone.KEY: "bold #ffff00",
        Tone.OFF: "#a8a8a8",
        Tone.RULE: "#ffffff",
        Tone.BAR: "#00ffff",
        Tone.EMPTY: "#808080",
    },
    grounds={
        Ground.PLAIN: "on #000000",
        Ground.RAISED: "on #000000",
        Ground.CURSOR: "bold #ffffff on #0000af",
        Ground.MARKED: "on #5f0087",
        Ground.ALARM: "bold #ffffff on #af0000",
        Ground.PAPER: "#000000 on #ffffff",
        Ground.TAB: "bold #ffffff on #0000af",
    },
)
_PLAIN: Final = Theme(
    name="plain",
    label=N_("no colour"),
    tones={
        Tone.TEXT: "",
        Tone.STRONG: "bold",
        Tone.DIM: "",
        Tone.OK: "",
        Tone.WARN: "bold",
        Tone.BAD: "bold",
        Tone.INFO: "",
        Tone.ACCENT: "bold",
        Tone.KEY: "bold",
        Tone.OFF: "dim",
        Tone.RULE: "",
        Tone.BAR: "",
        Tone.EMPTY: "",
    },
    grounds={
        Ground.PLAIN: "",
        Ground.RAISED: "",
        Ground.CURSOR: "reverse",
        Ground.MARKED: "underline",
        Ground.ALARM: "bold reverse",
        Ground.PAPER: "black on bright_white",
        Ground.TAB: "reverse",
    },
)
_SIXTEEN: Final = Theme(
    name="sixteen",
    label=N_("sixteen colours"),
    tones={
        Tone.TEXT: "white",
        Tone.STRONG: "bold bright_white",
        Tone.DIM: "white",
        Tone.OK: "green",
        Tone.WARN: "yellow",
        Tone.BAD: "bold bright_red",
        Tone.INFO: "cyan",
        Tone.ACCENT: "bold bright_cyan",
        Tone.KEY: "bold bright_yellow",
        Tone.OFF: "bright_black",
        Tone.RULE: "bright_black",
        Tone.BAR: "cyan",
        Tone.EMPTY: "bright_black",
    },
    grounds={
        Ground.PLAIN: "on black",
        Ground.RAISED: "on black",
        Ground.CURSOR: "bright_white on blue",
        Ground.MARKED: "bright_white on magenta",
        Ground.ALARM: "bold bright_white on red",
        Ground.PAPER: "black on bright_white",
        Ground.TAB: "bright_white on blue",
    },
)
"""What a terminal with sixteen colours gets for `dark`: its own sixteen, chosen by hand instead of by distance."""

THEMES: Final = {theme.name: theme for theme in (_DARK, _LIGHT, _CONTRAST, _PLAIN)}
"""In the order in which a key goes through them."""


class Styles:
    """The styles of one theme, each made once: a style keeps its control sequence, so that painting again is cheap."""

    def __init__(self, theme: Theme, *, sixteen_colours: bool = False) -> None:
        self.theme = theme
        self._theme = _SIXTEEN if sixteen_colours and theme.name == _DARK.name else theme
        self._made: dict[tuple[Tone, Ground], Style] = {}

    def of(self, tone: Tone, ground: Ground) -> Style:
        """A tone on a ground. An alarm is one colour throughout, whatever stands in it."""
        found = self._made.get((tone, ground))
        if found is None:
            front, behind = Style.parse(self._theme.tones[tone]), Style.parse(self._theme.grounds[ground])
            found = front + behind if behind.color else behind + front
            self._made[tone, ground] = found
        return found
