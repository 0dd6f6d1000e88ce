"""What ffmpeg says about a video. Pure: its text in, numbers out; what cannot be understood is None.

ffprobe would say it in JSON, but is not there when ffmpeg comes as a wheel.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_DURATION: Final = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_VIDEO: Final = re.compile(r"^  Stream #0:\d+[^\n]*?: Video: (\w+)[^\n]*?, (\d{1,5})x(\d{1,5})[ ,\[]", re.MULTILINE)
_AUDIO: Final = re.compile(r"^  Stream #0:\d+[^\n]*?: Audio: (\w+)", re.MULTILINE)
_WRITTEN: Final = re.compile(r"^frame= *\d+ .* time=(\d+):(\d\d):(\d\d(?:\.\d+)?) ", re.MULTILINE)
"""Lines of the progress that `-stats` shows; each ends with a carriage return."""
_MAX_DURATION_S: Final = 100 * 3600.0


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    codec: str
    width: int
    height: int
    """As coded; a phone held upright often codes lying pictures and says that they are to be turned."""
    duration_s: float
    audio: str | None
    """Codec of the sound; None: it is silent."""

    @property
    def short_edge(self) -> int:
        return min(self.width, self.height)


def encoded_seconds(text: str) -> float:
    """How much of a video ffmpeg says at last that it has written; 0 if it says nothing."""
    told = _WRITTEN.findall(text.replace("\r", "\n"))
    if not told:
        return 0.0
    hours, minutes, seconds = told[-1]
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def parse(text: str) -> Probed | None:
    """None if no video with dimensions and a length is spoken of."""
    duration, video, audio = _DURATION.search(text), _VIDEO.search(text), _AUDIO.search(text)
    if duration is None or video is None:
        return None
    hours, minutes, seconds = duration.groups()
    length = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    width, height = int(video[2]), int(video[3])
    if not 0 < length <= _MAX_DURATION_S or not width or not height:
        return None
    return Probed(
        codec=video[1], width=width, height=height, duration_s=length, audio=None if audio is None else audio[1]
    )
