from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.media.compression.probe import Probed, encoded_seconds, parse

TEXT = """Input #0, mov,mp4,m4a,3gp,3g2,mj2, from '/proc/self/fd/3':
  Metadata:
    title           : Stream #0:9: Video: evil, 1x1 [SAR]
  Duration: 00:01:02.50, start: 0.000000, bitrate: 15727 kb/s
  Stream #0:0[0x1](und): Video: h264 (High) (avc1 / 0x31637661), yuv420p(tv, bt709), 480x848 [SAR 1:1], 15653 kb/s
    Metadata:
      handler_name    : VideoHandler
  Stream #0:1[0x2](und): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, mono, fltp, 69 kb/s (default)
At least one output file must be specified
"""


def test_dimensions_length_and_codecs() -> None:
    assert parse(TEXT) == Probed(codec="h264", width=480, height=848, duration_s=62.5, audio="aac")


def test_a_silent_one() -> None:
    found = parse(TEXT.partition("  Stream #0:1")[0])
    assert found is not None
    assert found.audio is None


def test_what_is_no_video() -> None:
    assert parse("Invalid data found when processing input") is None
    assert parse(TEXT.replace("Video", "Subtitle")) is None
    assert parse(TEXT.replace("00:01:02.50", "N/A")) is None
    assert parse(TEXT.replace("00:01:02.50", "9999999:00:00.00")) is None
    assert parse(TEXT.replace("480x848", "0x0")) is None


def test_the_last_word_on_what_was_written_counts() -> None:
    said = "frame=   51 fps= 51 q=28.0 size= 0KiB time=00:00:01.96 bitrate= 0.2kbits/s\r"
    said += "frame=   75 fps= 65 q=-1.0 Lsize=  151KiB time=00:01:02.92 bitrate= 422.6kbits/s speed=2.5x\n"
    assert encoded_seconds(said) == 62.92
    assert encoded_seconds("Conversion failed!") == 0.0
    assert encoded_seconds("frame=    0 fps=0.0 q=0.0 size= 0KiB time=N/A bitrate=N/A\r") == 0.0


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    parse(text)
