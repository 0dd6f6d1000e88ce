"""Makes videos smaller with ffmpeg: probed first, one at a time, with little priority and bounded time and memory."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import shutil
from pathlib import Path
from typing import BinaryIO, Final

from appliance.media.compression import confinement
from appliance.media.compression.confinement import Ended, Limits
from appliance.media.compression.outcome import Result, Treatment
from appliance.media.compression.probe import Probed, encoded_seconds, parse
from appliance.media.compression.settings import VideoProfile

DATA_BYTES: Final = 200 << 20
"""x264 with one thread needs 60 MB at 720p; a source of 4K needs more than this and stays as it came. With the program
itself it makes less than 250 MiB of PSS."""
PROBE_S: Final = 20.0
BASE_S: Final = 30.0
"""Of the time limit: starting on a busy machine, and writing."""
PER_SECOND_S: Final = 8.0
"""… and so much for each second of video: a slow core encodes 720p faster than it plays, with little priority not."""
LONGEST_S: Final = 600.0
ALREADY_SMALL: Final = 1.2
"""Bits for each pixel and second below which nothing is to be gained: 720p in 1.1 Mbit/s, which is what WhatsApp's own
apps make of a video."""
DURATION_SLACK_S: Final = 0.5
DURATION_SLACK: Final = 0.03
"""Shorter than this, and something was cut off: tracks may differ by some frames."""
_MODERN: Final = frozenset({"h264", "hevc", "av1", "vp9"})
_COPIED_SOUND: Final = frozenset({"aac", "mp3"})
"""What an MP4 may hold and everything plays; other sound becomes AAC."""
_DEMUXERS: Final = {"video/mp4": "mov", "video/3gpp": "mov", "video/quicktime": "mov", "video/webm": "matroska"}
"""ffmpeg's reader for what the first bytes speak of: left to itself it would also take playlists that name files."""
_SOURCE: Final = "/proc/self/fd/{}"


class Ffmpeg:
    """The program: the one on PATH, otherwise the one that came as a wheel, if it can write H.264."""

    def __init__(self, candidates: list[str] | None = None) -> None:
        self._candidates = candidates
        self._found: str | None = None
        self._searched = False
        self._turn = asyncio.Lock()

    async def find(self) -> str | None:
        """Path of a program that can do it; None: there is none. It is looked for once."""
        async with self._turn:
            if not self._searched:
                for candidate in installed() if self._candidates is None else self._candidates:
                    if await _can_write_h264(candidate):
                        self._found = candidate
                        break
                self._searched = True
        return self._found


def installed() -> list[str]:
    """Every ffmpeg that this machine has, the system's first. Nothing is imported or downloaded for it."""
    found = [path for path in [shutil.which("ffmpeg")] if path]
    package = importlib.util.find_spec("imageio_ffmpeg")
    if package is not None and package.origin is not None:
        binaries = sorted((Path(package.origin).parent / "binaries").glob("ffmpeg-*"))
        found += [str(path) for path in binaries if os.access(path, os.X_OK)]
    return found


async def _can_write_h264(program: str) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "-hide_banner",
            "-encoders",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(PROBE_S):
            listed, _ = await process.communicate()
    except (OSError, TimeoutError):
        return False
    return b" libx264 " in listed


class VideoCompressor:
    """One video at a time."""

    def __init__(self, ffmpeg: Ffmpeg) -> None:
        self._ffmpeg = ffmpeg
        self._turn = asyncio.Lock()

    async def squeeze(
        self, source: BinaryIO, target: BinaryIO, size: int, mimetype: str, profile: VideoProfile
    ) -> Result:
        """Write the video of `size` bytes in `source` smaller to `target`. Raises OSError if no process can be made."""
        demuxer = _DEMUXERS.get(mimetype)
        if demuxer is None:
            return Result(treatment=Treatment.ORIGINAL, detail=f"{mimetype} is not read")
        program = await self._ffmpeg.find()
        if program is None:
            return Result(treatment=Treatment.NO_PROGRAM, detail="there is no ffmpeg that writes H.264")
        async with self._turn:
            probed = await probe(program, source, demuxer)
            if probed is None:
                return Result(treatment=Treatment.UNREADABLE, detail="no video can be read from it")
            if is_small(probed, size, profile):
                return Result(treatment=Treatment.ORIGINAL, detail="it is small already")
            return await self._encode(program, source, target, size, demuxer, probed, profile)

    async def _encode(
        self,
        program: str,
        source: BinaryIO,
        target: BinaryIO,
        size: int,
        demuxer: str,
        probed: Probed,
        profile: VideoProfile,
    ) -> Result:
        limit_s = time_limit(probed.duration_s)
        limits = Limits(data_bytes=DATA_BYTES, cpu_s=math.ceil(limit_s), file_bytes=size)
        command = encode_command(program, demuxer, source.fileno(), target.fileno(), probed, profile)
        ended = await confinement.run(limits, command, pass_fds=[source.fileno(), target.fileno()], timeout_s=limit_s)
        written = os.fstat(target.fileno()).st_size
        if ended.timed_out or _out_of_memory(ended):
            return Result(treatment=Treatment.TOO_DEMANDING, detail="time or memory did not do")
        if written >= size:
            return Result(treatment=Treatment.LITTLE_GAIN, detail="it would have become larger")
        if ended.status != 0:
            return Result(treatment=Treatment.UNREADABLE, detail=f"ffmpeg ended with status {ended.status}")
        if encoded_seconds(ended.output) < probed.duration_s * (1 - DURATION_SLACK) - DURATION_SLACK_S:
            return Result(treatment=Treatment.UNREADABLE, detail="it breaks off before its end")
        return Result(treatment=Treatment.COMPRESSED, mimetype="video/mp4")


def _out_of_memory(ended: Ended) -> bool:
    return "Cannot allocate memory" in ended.output or "malloc of size" in ended.output


def time_limit(duration_s: float) -> float:
    """Seconds that a video of this length may take."""
    return min(BASE_S + PER_SECOND_S * duration_s, LONGEST_S)


def is_small(probed: Probed, size: int, profile: VideoProfile) -> bool:
    """Whether trying would be a waste of time."""
    if probed.codec not in _MODERN or probed.short_edge > profile.short_edge:
        return False
    return size * 8 <= ALREADY_SMALL * probed.width * probed.height * probed.duration_s


async def probe(program: str, file: BinaryIO, demuxer: str) -> Probed | None:
    """What is in a file; None if no video is. Raises OSError if no process can be made."""
    command = [program, "-hide_banner", "-nostdin", "-protocol_whitelist", "file", "-f", demuxer]
    limits = Limits(data_bytes=DATA_BYTES, cpu_s=math.ceil(PROBE_S), file_bytes=0)
    ended = await confinement.run(
        limits, [*command, "-i", _SOURCE.format(file.fileno())], pass_fds=[file.fileno()], timeout_s=PROBE_S
    )
    return parse(ended.output)


def encode_command(
    program: str, demuxer: str, source: int, target: int, probed: Probed, profile: VideoProfile
) -> list[str]:
    """ffmpeg's arguments: the first picture track and the first sound, nothing that the file says of itself (the place
    where it was taken, for example), one thread each, the index at the front, as for playing while downloading."""
    import ffmpeg  # here: it costs the daemon 5 MB, and most of the time nobody sends a video

    given = ffmpeg.input(_SOURCE.format(source), f=demuxer, protocol_whitelist="file", threads=1, err_detect="explode")
    sound = {"c:a": "copy"} if probed.audio in _COPIED_SOUND else {"c:a": "aac", "b:a": "96k"}
    edge = profile.short_edge
    options = {
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": profile.crf,
        "pix_fmt": "yuv420p",
        "vf": f"scale=w='if(gt(iw,ih),-2,trunc(min({edge},iw)/2)*2)':h='if(gt(iw,ih),trunc(min({edge},ih)/2)*2,-2)'",
        "x264-params": "rc-lookahead=10",
        "threads": 1,
        "filter_threads": 1,
        "map_metadata": -1,
        "map_chapters": -1,
        "movflags": "+faststart",
        "f": "mp4",
        **sound,
    }
    chosen = ffmpeg.output(given["v:0"], given["a:0?"], _SOURCE.format(target), **options)
    arguments = chosen.global_args("-nostdin", "-hide_banner", "-v", "error", "-stats", "-xerror")
    return [str(word) for word in arguments.compile(cmd=program, overwrite_output=True)]
