"""A stored picture's pixels for a terminal: upright, within the box, and nothing from what is broken or hostile."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from appliance.media.compression.outcome import PictureReply, Treatment
from appliance.media.compression.pictures import MAX_PIXELS, draw
from tests.unit.media.compression.conftest import photo, png_of
from tests.unit.media.compression.test_pictures import saved

BOX = (60, 40)


def drawn(data: bytes, box: tuple[int, int] = BOX) -> tuple[PictureReply, bytes]:
    target = io.BytesIO()
    reply = draw(io.BytesIO(data), target, box)
    return reply, target.getvalue()


def test_a_photo_within_its_box() -> None:
    reply, rgb = drawn(photo(1200, 900))
    assert (reply.treatment, reply.width, reply.height) == (Treatment.COMPRESSED, 53, 40)
    assert len(rgb) == 3 * 53 * 40


def test_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    reply, _ = drawn(photo(900, 600, exif=exif))
    assert reply.height > reply.width


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_kind_of_colour(mode: str) -> None:
    picture = Image.new("RGB", (30, 20), (200, 30, 30)).convert("L" if mode == "LA" else "RGB").convert(mode)
    reply, rgb = drawn(saved(picture, "JPEG" if mode == "CMYK" else "PNG"))
    assert (reply.width, reply.height, len(rgb)) == (30, 20, 1800)


def test_what_is_behind_a_transparent_picture_is_grey() -> None:
    _, rgb = drawn(saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"))
    assert set(rgb) == {128}


def test_the_first_picture_of_those_that_move() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    reply, rgb = drawn(file.getvalue())
    assert (reply.width, rgb[:3]) == (8, b"\xff\x00\x00")


@pytest.mark.parametrize(
    ("data", "treatment"),
    [
        (b"", Treatment.UNREADABLE),
        (b"GIF89a" + bytes(100), Treatment.UNREADABLE),
        (photo(400, 300)[:5000], Treatment.UNREADABLE),
        (png_of(MAX_PIXELS, 2), Treatment.TOO_DEMANDING),
    ],
)
def test_what_cannot_be_drawn_writes_nothing(data: bytes, treatment: Treatment) -> None:
    reply, rgb = drawn(data)
    assert (reply.treatment, rgb) == (treatment, b"")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2000))
def test_whatever_comes_it_does_not_raise(noise: bytes, at: int) -> None:
    data = bytearray(photo(64, 48))
    data[at : at + len(noise)] = noise
    reply, rgb = drawn(bytes(data))
    assert len(rgb) == 3 * reply.width * reply.height
