"""Files of every kind that people, phones and attackers send; made here, none of them taken from anywhere."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import zlib

import pytest
from PIL import Image


def photo(width: int, height: int, *, seed: int = 1, quality: int = 92, **options: object) -> bytes:
    """Colours that change smoothly, with grain: about as many bytes as a camera's picture."""
    chance = random.Random(seed)
    coarse = Image.frombytes("RGB", (16, 12), chance.randbytes(16 * 12 * 3)).resize((width, height), Image.BICUBIC)
    grain = Image.frombytes("RGB", (width, height), chance.randbytes(width * height * 3))
    file = io.BytesIO()
    Image.blend(coarse, grain, 0.08).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims these dimensions and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


@pytest.fixture(scope="session")
def clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds, upright, with sound and a place where it was taken."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    subprocess.run(
        [
            *(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=360x640:rate=20:duration=2"),
            *("-f", "lavfi", "-i", "sine=duration=2", "-vf", "noise=alls=12:allf=t", "-c:v", "libx264", "-crf", "16"),
            *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"),
            *("-metadata", "location=+14.6928-017.4467/", str(path)),
        ],
        check=True,
    )
    return path.read_bytes()
