#!/usr/bin/env python3
"""Draws the pictures of the terminal interface that the README shows, from its own simulated fleet: scripts/pictures.py

Always the same fleet at the same moment, so that a picture changes only when the interface does. English, dark, 120
columns; times in UTC.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MOMENT = 1_790_000_000.0
"""2026-09-21 14:13:20 UTC."""
SIZE = (120, 34)
SCREENS = {"sessions": (), "pairing": ("p", *"+221771234567", "enter"), "storage": ("3",), "history": ("4",)}
"""Picture → keys that lead there."""
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""The exporter's fonts come from a server elsewhere; a picture of ours asks nobody."""
SETTLED_S = 1.5
"""What a screen reads has arrived by then."""


async def draw(name: str, keys: tuple[str, ...], folder: Path) -> None:
    from tui.app import AmdaTui
    from tui.attach import take_snapshot
    from tui.demo import DemoApi
    from tui.demo_fleet import Fleet
    from tui.store import Store

    class Still(DemoApi):
        async def pass_time(self) -> None:
            return None

    api = Still(Fleet(60, now=MOMENT), step_s=0.05)
    store = Store()
    store.load(await take_snapshot(api), MOMENT)
    app = AmdaTui(api, store, clock=lambda: api.fleet.now)
    async with app.run_test(size=SIZE) as pilot:
        for key in keys:
            await pilot.press(key)
            await pilot.pause(0.1)
        if name == "pairing":
            for _ in range(3):
                await api.tell(api.fleet.step(1.0))
        await pilot.pause(SETTLED_S)
        picture = FONTS.sub("", app.export_screenshot(title="amda-tui", simplify=True))
        (folder / f"{name}.svg").write_text(picture + "\n")


def main() -> None:
    os.environ |= {"TZ": "UTC", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    time.tzset()
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    for name, keys in SCREENS.items():
        asyncio.run(draw(name, keys, folder))
        print(folder / f"{name}.svg")  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
