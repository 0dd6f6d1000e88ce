"""Settings of compression."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.media.compression.outcome import PictureProfile


class Profile(enum.StrEnum):
    ORIGINAL = "original"
    """Everything is stored as it came."""
    BALANCED = "balanced"
    SMALL = "small"


class VideoProfile(msgspec.Struct, frozen=True, kw_only=True):
    short_edge: int
    """In pixels: 720 is "720p", upright or lying."""
    crf: int
    """x264's constant rate factor: 18 looks like the original, each 6 more halve the size."""


PICTURES = {
    Profile.BALANCED: PictureProfile(edge=2048, quality=78),
    Profile.SMALL: PictureProfile(edge=1280, quality=68),
}
"""A phone's screen is at most 1440 pixels wide; below a quality of 65 JPEG shows its blocks."""
VIDEOS = {
    Profile.BALANCED: VideoProfile(short_edge=720, crf=28),
    Profile.SMALL: VideoProfile(short_edge=480, crf=30),
}


class CompressionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section `compression`."""

    profile: Annotated[
        Profile,
        Meta(description="How media is made smaller before it is stored: original (not at all), balanced, small."),
    ] = Profile.BALANCED
    videos: Annotated[bool, Meta(description="Whether videos are made smaller, too; it needs ffmpeg.")] = True
    hurry_bytes: Annotated[
        int, Meta(ge=1 << 20, description="While more than this waits in the spools, videos are stored as they came.")
    ] = 512 << 20
    """Half of what may wait at all (storage.spool_bytes): being late is worse than being large."""
