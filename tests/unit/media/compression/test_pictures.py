from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from appliance.media.compression.outcome import PictureProfile, Treatment
from appliance.media.compression.pictures import MAX_PIXELS, squeeze
from tests.unit.media.compression.conftest import photo, png_of

PROFILE = PictureProfile(edge=640, quality=70)
PLACE = ExifTags.IFD.GPSInfo


def squeezed(data: bytes) -> tuple[Treatment, str, bytes]:
    target = io.BytesIO()
    reply = squeeze(io.BytesIO(data), target, PROFILE)
    return reply.treatment, reply.mimetype, target.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_a_photo_becomes_smaller_and_keeps_its_look() -> None:
    data = photo(1200, 900)
    treatment, mimetype, smaller = squeezed(data)
    assert (treatment, mimetype) == (Treatment.COMPRESSED, "image/jpeg")
    assert len(smaller) < len(data) / 2
    before, after = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(smaller))
    assert after.size == (640, 480)
    tiny = [picture.convert("L").resize((8, 6)).tobytes() for picture in (before, after)]
    assert max(abs(a - b) for a, b in zip(*tiny, strict=True)) < 12


def test_orientation_camera_and_time_stay_the_place_goes() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Tecno"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2026:11:23 10:00:00"
    exif.get_ifd(PLACE)[ExifTags.GPS.GPSLatitude] = (14.0, 41.0, 34.0)
    data = photo(900, 600, exif=exif, comment=b"lat 14.69")
    assert Image.open(io.BytesIO(data)).getexif().get_ifd(PLACE)
    _, _, smaller = squeezed(data)
    found = Image.open(io.BytesIO(smaller)).getexif()
    assert found[ExifTags.Base.Orientation] == 6
    assert found[ExifTags.Base.Make] == "Tecno"
    assert found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == "2026:11:23 10:00:00"
    assert not found.get_ifd(PLACE)
    assert b"lat 14.69" not in smaller
    assert Image.open(io.BytesIO(smaller)).size == (640, 427)  # as coded: the tag turns it


def test_what_one_can_see_through_stays_so() -> None:
    image = Image.open(io.BytesIO(photo(700, 700))).convert("RGBA")
    image.putalpha(100)
    treatment, mimetype, smaller = squeezed(saved(image, "PNG"))
    assert (treatment, mimetype) == (Treatment.COMPRESSED, "image/webp")
    assert Image.open(io.BytesIO(smaller)).getextrema()[3] == (100, 100)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_colours_of_every_kind(mode: str) -> None:
    data = saved(Image.open(io.BytesIO(photo(700, 500))).convert(mode), "JPEG", quality=95)
    treatment, _, smaller = squeezed(data)
    assert treatment is Treatment.COMPRESSED
    assert Image.open(io.BytesIO(smaller)).mode == ("L" if mode == "L" else "RGB")


def test_what_moves_is_left_alone() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert squeezed(data)[0] is Treatment.ORIGINAL


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (MAX_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_not_decoded(width: int, height: int) -> None:
    assert squeezed(png_of(width, height))[0] in (Treatment.TOO_DEMANDING, Treatment.UNREADABLE)


HOSTILE = {
    "nothing": b"",
    "one byte": b"\xff",
    "only a signature": b"\xff\xd8\xff",
    "words": b"\xff\xd8\xffnot a picture at all" * 100,
    "zeros": bytes(200_000),
    "cut off": photo(800, 600)[:20_000],
    "a script": b"#!/bin/sh\nrm -rf /\n",
    "another format": b"8BPS\0\1" + bytes(100_000),
    "a PNG that lies": png_of(3000, 3000),
    "no width": png_of(0, 10),
    "a postscript picture": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_called_what_they_are(data: bytes) -> None:
    assert squeezed(data)[0] in (Treatment.UNREADABLE, Treatment.TOO_DEMANDING)


WHOLE = photo(160, 120)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_damaged_picture_never_raises(seed: int) -> None:
    chance, damaged = random.Random(seed), bytearray(WHOLE)
    for _ in range(chance.randrange(1, 20)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    assert isinstance(squeezed(bytes(damaged))[0], Treatment)
