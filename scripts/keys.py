#!/usr/bin/env python3
"""Writes docs/keys.md, every key of the terminal interface, from its table of actions: scripts/keys.py [--check]

With --check it only says whether the page is in step: exit status 1 if it is not.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "keys.md"


def page() -> str:
    from tui.actions import ACTIONS, Place
    from tui.widgets.header import TABS

    titles = {Place.EVERYWHERE: "Everywhere", Place.SESSION: "One session", **dict(TABS)}
    order = [Place.EVERYWHERE, Place.SESSIONS, Place.SESSION, *(place for place, _ in TABS[1:])]
    parts = [
        "# Keys of amda-tui\n\n"
        "Made by `scripts/keys.py` from the table that the interface itself uses; `?` shows the same for the screen\n"
        "that is open, with the reason for each key that is off just now, and `:` finds any action by its name. In\n"
        "lists the arrow keys, `j` `k`, `g` `G` and the page keys move the cursor; the mouse chooses rows and sorts\n"
        "by a click on a column's title.\n"
    ]
    for place in order:
        rows = [action for action in ACTIONS if place in action.places]
        parts.append(f"\n## {titles[place]}\n\n| key | action | what it does |\n|---|---|---|\n")
        for action in rows:
            keys = ", ".join(f"`{key}`" for key in _shown(action.shown, action.keys))
            parts.append(f"| {keys} | {action.label} | {action.help} |\n")
    return "".join(parts)


def _shown(shown: str, keys: tuple[str, ...]) -> list[str]:
    """As people write them: the one that the interface shows, then the others that have a name of their own."""
    others = [key for key in keys[1:] if "+" in key or key == "backspace" or (key[0] == "f" and key[1:].isdigit())]
    return list(dict.fromkeys([shown, *(key for key in others if key.casefold() != shown.casefold())]))


def main() -> int:
    wanted = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.exists() and PAGE.read_text() == wanted else 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
