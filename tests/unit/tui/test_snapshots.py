"""Every screen in three sizes, four themes and two languages: as it was when somebody last looked at it.

After a change that is meant run this file with AMDA_SNAPSHOTS=write, and look at what git says is different.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.tui.gallery import (
    LANGUAGES,
    SCREENS,
    SIZES,
    THEMES,
    Cuts,
    gallery,
    overlapping,
    quiet,
    speaking,
    styled,
)
from tui.paint import width_of

FOLDER = Path(__file__).parent / "snapshots"
WRITING = os.environ.get("AMDA_SNAPSHOTS") == "write"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are local times."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def compared(path: Path, text: str) -> str:
    """The difference from what is kept; empty: none."""
    if WRITING:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    kept = path.read_text() if path.exists() else ""
    return "\n".join(
        difflib.unified_diff(kept.splitlines(), text.splitlines(), f"{path.stem}, kept", "now", lineterm="")
    )


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
async def test_every_screen(size: tuple[int, int], language: str) -> None:
    name, cuts = "{}x{}".format(*size), Cuts()
    pictures, looks, wrong = [], [], []
    with speaking(language, cuts):
        async with gallery(size) as (app, pilot, api):
            for screen, lead in SCREENS.items():
                await lead(app, pilot, api)
                shown = await quiet(app, pilot)
                pictures.append(f"=== {screen}\n{shown}\n")
                wrong += [f"{screen}: {found}" for found in overlapping(app)]
                wrong += [f"{screen}: {line!r} is too wide" for line in shown.splitlines() if width_of(line) > size[0]]
                for theme in THEMES:
                    app.use_theme(theme)
                    looks.append(f"{screen} {theme} {styled(app)}\n")
                app.use_theme("dark")
    assert not wrong, "\n".join(wrong)
    assert not cuts.found, "cut: " + "; ".join(sorted(cuts.found))
    differences = [
        compared(FOLDER / language / f"{name}.txt", "".join(pictures)),
        compared(FOLDER / language / f"{name}-looks.txt", "".join(looks)),
    ]
    assert differences == ["", ""], "\n".join(differences)
