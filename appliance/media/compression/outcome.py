"""What became of a file that was to be made smaller. Whatever it is, the file is stored: smaller, or as it came."""

from __future__ import annotations

import enum
from typing import BinaryIO

import msgspec


class Treatment(enum.StrEnum):
    """Why an object has the bytes that it has; kept in the index."""

    ORIGINAL = "original"
    """Not meant to be made smaller: its kind, its size, or the settings say so."""
    COMPRESSED = "compressed"
    LITTLE_GAIN = "little_gain"
    """It could be made smaller, but not by enough."""
    UNREADABLE = "unreadable"
    """Broken, cut off or hostile: not even its own format's programs can read it to the end."""
    TOO_DEMANDING = "too_demanding"
    """A decompression bomb, or so large that time or memory would not do."""
    NO_PROGRAM = "no_program"
    """There is no ffmpeg, or none that can write H.264."""
    HURRIED = "hurried"
    """Too much was waiting."""


class PictureProfile(msgspec.Struct, frozen=True, kw_only=True):
    """How a picture is made smaller."""

    edge: int
    """Longest edge in pixels; a smaller picture keeps its dimensions."""
    quality: int
    """Of JPEG and WebP, 1 to 95."""


class PictureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """To the process that reads pictures; the two files come along as descriptors. One of these is wanted:"""

    profile: PictureProfile | None = None
    """a smaller picture …"""
    box: tuple[int, int] | None = None
    """… or its pixels (three bytes each, row by row), as many as fit into this width and height."""


class PictureReply(msgspec.Struct, frozen=True, kw_only=True):
    treatment: Treatment
    mimetype: str = ""
    """Of what was written."""
    detail: str = ""
    """For the log; nothing that the file says of itself."""
    width: int = 0
    height: int = 0
    """Of the pixels that were written."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`file` is None if the original is to be stored; otherwise its position is the beginning, and it is the caller's
    to close."""

    treatment: Treatment
    file: BinaryIO | None = None
    size: int = 0
    sha256: str = ""
    mimetype: str = ""
    detail: str = ""
