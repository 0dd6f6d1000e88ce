"""Decides what is made smaller, has it done, and judges whether it was worth it. Never fails: at worst a file is stored
as it came."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from appliance.media.compression.outcome import Result, Treatment
from appliance.media.compression.picture_process import PictureProcess
from appliance.media.compression.settings import PICTURES, VIDEOS, CompressionSettings, Profile
from appliance.media.compression.video import Ffmpeg, VideoCompressor
from appliance.model import MediaKind
from appliance.model_storage import Pixels

MIN_SIZE: Final = 100 * 1024
"""Nothing is gained that would be worth the loss of quality."""
MIN_GAIN: Final = 0.1
REMEMBERED_BYTES: Final = 64 << 20
REMEMBERED: Final = 200
"""Results that are kept for the next session that gets the same: a status goes to everybody at once."""
_BYTES_PER_PIXEL: Final = 3
_PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/webp"})
_VIDEO_KINDS: Final = frozenset({MediaKind.VIDEO, MediaKind.VIDEO_NOTE})

_log = structlog.get_logger(__name__)


class Compressor:
    """`folder` holds what is being written; nothing in it outlives the process. `close()` ends child processes."""

    def __init__(self, settings: CompressionSettings, folder: Path, ffmpeg: Ffmpeg | None = None) -> None:
        self._settings = settings
        self._folder = folder
        self._pictures = PictureProcess()
        self._videos = VideoCompressor(ffmpeg or Ffmpeg())
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._turns: dict[str, asyncio.Lock] = {}

    def apply_settings(self, settings: CompressionSettings) -> None:
        """From the next file on."""
        if settings != self._settings:
            self._forget(len(self._results))
        self._settings = settings

    async def close(self) -> None:
        self._forget(len(self._results))
        await self._pictures.close()

    def takes_long(self, kind: MediaKind) -> bool:
        """Whether others should not have to wait for it."""
        return kind in _VIDEO_KINDS

    async def compress(
        self, source: BinaryIO, *, kind: MediaKind, mimetype: str, size: int, sha256: str, waiting_bytes: int = 0
    ) -> Result:
        """`mimetype` is what the first bytes speak of; `waiting_bytes`: what lies in the spools."""
        if (reason := self._untouched(kind, mimetype, size)) is not None:
            return Result(treatment=Treatment.ORIGINAL, detail=reason)
        if kind in _VIDEO_KINDS and waiting_bytes > self._settings.hurry_bytes:
            return Result(treatment=Treatment.HURRIED, detail="too much is waiting")
        turn = self._turns.setdefault(sha256, asyncio.Lock())
        try:
            async with turn:
                if (known := self._results.get(sha256)) is None:
                    known = await self._work(source, kind, mimetype, size)
                    self._remember(sha256, known)
                return _opened(known)
        finally:
            if not turn.locked():
                self._turns.pop(sha256, None)

    async def pixels(self, content: AsyncIterator[bytes], box: tuple[int, int]) -> Pixels | None:
        """What a picture looks like, within `box`; None if it is no picture that can be read. Raises OSError."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, exist_ok=True)
        with (
            tempfile.TemporaryFile(dir=self._folder, buffering=0) as source,
            tempfile.TemporaryFile(dir=self._folder, buffering=0) as target,
        ):
            async for piece in content:
                await asyncio.to_thread(source.write, piece)
            source.seek(0)
            reply = await self._pictures.draw(source, target, box)
            if reply.treatment is not Treatment.COMPRESSED:
                return None
            rgb = os.pread(target.fileno(), _BYTES_PER_PIXEL * box[0] * box[1], 0)
        if len(rgb) != _BYTES_PER_PIXEL * reply.width * reply.height:
            return None
        return Pixels(width=reply.width, height=reply.height, rgb=rgb)

    def _untouched(self, kind: MediaKind, mimetype: str, size: int) -> str | None:
        if self._settings.profile is Profile.ORIGINAL:
            return "the settings say so"
        if size < MIN_SIZE:
            return "it is small"
        if kind in _VIDEO_KINDS:
            return None if self._settings.videos else "the settings say so"
        return None if kind is MediaKind.IMAGE and mimetype in _PICTURES else "its kind is kept as it is"

    async def _work(self, source: BinaryIO, kind: MediaKind, mimetype: str, size: int) -> Result:
        with contextlib.ExitStack() as files:
            try:
                await asyncio.to_thread(self._folder.mkdir, mode=0o700, exist_ok=True)
                given = files.enter_context(_reopened(source))
                target: BinaryIO = files.enter_context(tempfile.TemporaryFile(dir=self._folder, buffering=0))
                if kind in _VIDEO_KINDS:
                    profile = VIDEOS[self._settings.profile]
                    result = await self._videos.squeeze(given, target, size, mimetype, profile)
                else:
                    reply = await self._pictures.squeeze(given, target, PICTURES[self._settings.profile])
                    result = Result(treatment=reply.treatment, mimetype=reply.mimetype, detail=reply.detail)
                if result.treatment is Treatment.COMPRESSED:
                    result = await asyncio.to_thread(_judged, result, target, size)
            except OSError as error:  # a full disk, no process left: the original can still be stored
                result = Result(treatment=Treatment.TOO_DEMANDING, detail=error.strerror or type(error).__name__)
        if result.treatment not in (Treatment.COMPRESSED, Treatment.ORIGINAL, Treatment.LITTLE_GAIN):
            _log.warning("media stays as it came", kind=kind, reason=result.treatment, detail=result.detail)
        return result

    def _remember(self, sha256: str, result: Result) -> None:
        self._results[sha256] = result
        while len(self._results) > 1 and (
            len(self._results) > REMEMBERED or sum(known.size for known in self._results.values()) > REMEMBERED_BYTES
        ):
            self._forget(1)

    def _forget(self, many: int) -> None:
        for _ in range(many):
            _, oldest = self._results.popitem(last=False)
            if oldest.file is not None:
                oldest.file.close()


def _judged(result: Result, target: BinaryIO, size: int) -> Result:
    written = os.fstat(target.fileno()).st_size
    if written > size * (1 - MIN_GAIN):
        return Result(treatment=Treatment.LITTLE_GAIN, detail=f"{written} bytes instead of {size}")
    smaller = _reopened(target)
    digest = hashlib.file_digest(smaller, "sha256").hexdigest()
    return msgspec.structs.replace(result, file=smaller, size=written, sha256=digest)


def _opened(known: Result) -> Result:
    """The result with a file of the caller's own."""
    if known.file is None:
        return known
    return msgspec.structs.replace(known, file=_reopened(known.file))


def _reopened(file: BinaryIO) -> io.FileIO:
    """The same file, from its beginning, with a position of its own."""
    return open(f"/proc/self/fd/{file.fileno()}", "rb", buffering=0)  # noqa: PTH123 - the caller closes it
