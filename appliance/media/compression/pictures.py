"""Makes pictures smaller with Pillow. Runs in a process of its own (`picture_child`): nothing else imports it, so the
daemon neither holds Pillow's memory nor opens what strangers drew.

Orientation, camera and time of taking are kept; where it was taken, and everything else that a file says of itself, is
not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO, Final

from PIL import ExifTags, Image, ImageChops, ImageFile, ImageOps

from appliance.media.compression.outcome import PictureProfile, PictureReply, Treatment

MAX_PIXELS: Final = 64_000_000
"""The largest phone pictures that are sent have 50 megapixels; as RGB that is 200 MB, which the limit of memory bears
only because JPEG can be read at a fraction of its size."""
_MAX_PROFILE: Final = 16 * 1024
"""Colour profiles of phones have some hundred bytes; those of printers are not worth their megabyte."""
_FORMATS: Final = ("JPEG", "PNG", "WEBP")
_KEPT_TAGS: Final = (
    ExifTags.Base.Orientation,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.DateTime,
)
_KEPT_TIMES: Final = (ExifTags.Base.DateTimeOriginal, ExifTags.Base.OffsetTimeOriginal)
_TEXT_LIMIT: Final = 64
_BEHIND: Final = (128, 128, 128, 255)
"""What is seen through a transparent picture: neither ink nor paper."""

Image.MAX_IMAGE_PIXELS = None  # judged here, before anything is decoded
ImageFile.LOAD_TRUNCATED_IMAGES = False


def draw(source: BinaryIO, target: BinaryIO, box: tuple[int, int]) -> PictureReply:
    """Write the picture's pixels to `target`, upright and no larger than `box`. Never raises for what it holds."""
    return _guarded(lambda: _draw(source, target, box))


def squeeze(source: BinaryIO, target: BinaryIO, profile: PictureProfile) -> PictureReply:
    """Write a smaller picture to `target`. Never raises for what `source` holds."""
    return _guarded(lambda: _squeeze(source, target, profile))


def _guarded(work: Callable[[], PictureReply]) -> PictureReply:
    try:
        return work()
    except MemoryError:
        return PictureReply(treatment=Treatment.TOO_DEMANDING, detail="its pixels do not fit into memory")
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, TypeError, IndexError, struct.error) as error:
        # what Pillow's readers raise for broken files (UnidentifiedImageError is an OSError)
        return PictureReply(treatment=Treatment.UNREADABLE, detail=type(error).__name__)


def _draw(source: BinaryIO, target: BinaryIO, box: tuple[int, int]) -> PictureReply:
    with Image.open(source, formats=_FORMATS) as image:
        if (too_many := _too_many_pixels(image)) is not None:
            return too_many
        edge = max(box)  # whichever way round it is
        image.draft("RGB", (edge, edge))
        image.load()
        upright = ImageOps.exif_transpose(_as_rgb(image, see_through=image.has_transparency_data))
        upright.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=2.0)
        if upright.mode == "RGBA":
            upright.paste(_BEHIND, mask=ImageChops.invert(upright.getchannel("A")))
        pixels = upright.convert("RGB")
        target.write(pixels.tobytes())
        return PictureReply(treatment=Treatment.COMPRESSED, width=pixels.width, height=pixels.height)


def _too_many_pixels(image: Image.Image) -> PictureReply | None:
    if image.width * image.height <= MAX_PIXELS:
        return None
    return PictureReply(treatment=Treatment.TOO_DEMANDING, detail=f"{image.width} x {image.height} pixels are too many")


def _squeeze(source: BinaryIO, target: BinaryIO, profile: PictureProfile) -> PictureReply:
    with Image.open(source, formats=_FORMATS) as image:
        if (too_many := _too_many_pixels(image)) is not None:
            return too_many
        if getattr(image, "n_frames", 1) > 1:
            return PictureReply(treatment=Treatment.ORIGINAL, detail="it moves")
        described, colours = _description(image), image.info.get("icc_profile", b"")
        image.draft(None, (profile.edge, profile.edge))
        image.load()
        see_through = image.has_transparency_data
        picture = _as_rgb(image, see_through=see_through)
        picture.thumbnail((profile.edge, profile.edge), Image.Resampling.LANCZOS, reducing_gap=2.0)
        picture.info.clear()  # comments, XMP
        kept = {"icc_profile": colours if len(colours) <= _MAX_PROFILE and image.mode != "CMYK" else b""}
        if see_through:
            picture.save(target, "WEBP", quality=profile.quality, exif=described, method=2, **kept)
            return PictureReply(treatment=Treatment.COMPRESSED, mimetype="image/webp")
        picture.save(target, "JPEG", quality=profile.quality, optimize=True, progressive=True, exif=described, **kept)
        return PictureReply(treatment=Treatment.COMPRESSED, mimetype="image/jpeg")


def _as_rgb(image: Image.Image, *, see_through: bool) -> Image.Image:
    wanted = "RGBA" if see_through else "L" if image.mode in ("1", "L") else "RGB"
    return image.copy() if image.mode == wanted else image.convert(wanted)


def _description(image: Image.Image) -> Image.Exif:
    """The few facts that are kept."""
    found, kept = image.getexif(), Image.Exif()
    for tag in _KEPT_TAGS:
        if _harmless(found.get(tag)):
            kept[tag] = found[tag]
    times = found.get_ifd(ExifTags.IFD.Exif)
    for tag in _KEPT_TIMES:
        if _harmless(times.get(tag)):
            kept.get_ifd(ExifTags.IFD.Exif)[tag] = times[tag]
    return kept


def _harmless(value: object) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _TEXT_LIMIT
    return isinstance(value, int) and 0 <= value < 1 << 16
