"""Whether what was made smaller still shows the same: decoded here, and held against what the network drew."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from appliance.bench.media_plan import Status
from appliance.media.compression.settings import PICTURES, VIDEOS, Profile
from appliance.staging import control_types as ct
from appliance.staging import media_photo, media_video
from appliance.staging.media_content import DEFAULT_MIMETYPE, dimensions, seed_name

PROFILE: Final = Profile.BALANCED
"""The shipped one."""
PHOTO_TOLERANCE: Final = 30.0
"""Mean difference of a colour value (0 to 255) between what was drawn and what is seen: smoothing alone makes 24,
another picture 73 (measured)."""
VIDEO_TOLERANCE: Final = 14.0
"""The same for the brightness of a square: grain and the range of video make 7, another film 58 (measured)."""
LOST_FRAMES: Final = 1
_SQUARE: Final = 16


class Looks:
    """Compares; a content that several sessions hold is decoded once. `ffmpeg` plays videos."""

    def __init__(self, ffmpeg: str) -> None:
        self._ffmpeg = ffmpeg
        self._seen: dict[tuple[str, int], str] = {}
        self._turns = asyncio.Semaphore(2)

    async def difference(self, status: Status, content: bytes, stored_sha256: str) -> str:
        """What is wrong with stored content; empty: it shows what was sent, in the dimensions that it should have."""
        name = (stored_sha256, status.seed)
        if name not in self._seen:
            async with self._turns:
                if status.kind is ct.SendKind.IMAGE:
                    self._seen[name] = await asyncio.to_thread(_photo, status, content)
                else:
                    self._seen[name] = await self._film(status, content)
        return self._seen[name]

    async def _film(self, status: Status, content: bytes) -> str:
        film = media_video.film_for(status.size)
        width, height = film.width // _SQUARE, film.height // _SQUARE
        with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
            await asyncio.to_thread(Path(file.name).write_bytes, content)
            process = await asyncio.create_subprocess_exec(
                *(self._ffmpeg, "-nostdin", "-v", "error", "-i", file.name),
                *("-vf", f"scale={width}:{height}:flags=area", "-f", "rawvideo", "-pix_fmt", "gray", "-"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            frames, complaints = await process.communicate()
            described = await _described(self._ffmpeg, file.name)
        if complaints:
            return f"it does not play: {complaints.decode(errors='replace').splitlines()[0]}"
        if f"{film.width}x{film.height}" not in described and min(film[:2]) <= VIDEOS[PROFILE].short_edge:
            return f"its dimensions are not {film.width} x {film.height}"
        squares = width * height
        count, wanted = len(frames) // squares, media_video.FPS * media_video.SECONDS
        if abs(count - wanted) > LOST_FRAMES:
            return f"{count} frames instead of {wanted}"
        return _film_difference(status, film, frames)


def _film_difference(status: Status, film: media_video.Film, frames: bytes) -> str:
    shown = media_video.look(seed_name(status.kind.media_kind, status.seed), film)
    squares = len(shown[0])
    every = -(-media_video.FPS * media_video.SECONDS // len(shown))
    for number, wanted in enumerate(shown):
        middle = (number * every + every // 2) * squares
        if (mean := _mean_difference(frames[middle : middle + squares], wanted)) > VIDEO_TOLERANCE:
            return f"scene {number + 1} differs by {mean:.0f}"
    return ""


async def _described(ffmpeg: str, path: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(ffmpeg, "-nostdin", "-hide_banner", "-i", path),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, described = await process.communicate()
    return described.decode(errors="replace")


def _photo(status: Status, content: bytes) -> str:
    from PIL import Image

    kind = status.kind.media_kind
    width, height = dimensions(kind, DEFAULT_MIMETYPE[kind], status.size)
    scale = min(1.0, PICTURES[PROFILE].edge / max(width, height))
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if any(abs(a - b * scale) > 1 for a, b in zip(picture.size, (width, height), strict=True)):
                return f"its dimensions are {picture.size}, those of the original {(width, height)}"
            seen = picture.convert("RGB").resize(media_photo.COARSE, Image.Resampling.BOX).tobytes()
    except OSError as error:
        return f"it cannot be decoded: {error}"
    mean = _mean_difference(seen, media_photo.look(seed_name(kind, status.seed)))
    return f"it differs by {mean:.0f}" if mean > PHOTO_TOLERANCE else ""


def _mean_difference(seen: Sequence[int], wanted: Sequence[int]) -> float:
    return sum(abs(a - b) for a, b in zip(seen, wanted, strict=True)) / len(wanted)
