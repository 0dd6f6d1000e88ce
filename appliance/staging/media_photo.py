"""Pictures as large as phones send them: colours that change smoothly, with grain. Pillow draws them, and is imported
only when somebody sends one."""

from __future__ import annotations

import io
import random
from typing import Final

from appliance.staging.media_jpeg import with_comments

LARGE: Final = 100_000
"""From this many bytes on a picture is one of these."""
COARSE: Final = (16, 12)
"""Colours of this many squares are what a picture shows."""
_PIXELS_PER_BYTE: Final = 3.5
"""With this grain and quality a picture takes a little less than it may."""
_GRAIN: Final = 0.1
_QUALITY: Final = 88
_TILE: Final = 512
"""The grain is drawn for so many pixels each way, and repeated."""
_RATIO: Final = COARSE[0] / COARSE[1]


def dimensions(size: int) -> tuple[int, int]:
    """Width and height of a picture of about `size` bytes."""
    height = max(round((size * _PIXELS_PER_BYTE / _RATIO) ** 0.5), COARSE[1])
    return round(height * _RATIO), height


def look(seed: str) -> bytes:
    """The colours that it shows, RGB, `COARSE` squares, row by row."""
    width, height = COARSE
    return random.Random(seed).randbytes(width * height * 3)  # noqa: S311 - repeatable on purpose


def jpeg(seed: str, size: int) -> bytes:
    """At least `size` bytes."""
    from PIL import Image

    shape = dimensions(size)
    colours = Image.frombytes("RGB", COARSE, look(seed)).resize(shape, Image.Resampling.BICUBIC)
    noise = random.Random(f"{seed}/grain").randbytes(_TILE * _TILE * 3)  # noqa: S311
    tile, grain = Image.frombytes("RGB", (_TILE, _TILE), noise), Image.new("RGB", shape)
    for left in range(0, shape[0], _TILE):
        for top in range(0, shape[1], _TILE):
            grain.paste(tile, (left, top))
    file = io.BytesIO()
    Image.blend(colours, grain, _GRAIN).save(file, "JPEG", quality=_QUALITY)
    return with_comments(file.getvalue(), size, seed)
