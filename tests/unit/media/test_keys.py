"""Keys of objects: safe by construction, whatever senders declare."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.media import index, keys
from appliance.model import Category


def test_examples_in_the_documentation() -> None:
    for module in (keys, index):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


@pytest.mark.parametrize(
    ("head", "declared", "expected"),
    [
        (b"\xff\xd8\xff\xe0rest", "image/png", "jpg"),
        (b"\x89PNG\r\n\x1a\n", "", "png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp", "webp"),
        (b"\x00\x00\x00\x18ftypisom", "application/octet-stream", "mp4"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/mp4", "m4a"),
        (b"\x00\x00\x00\x18ftyp3gp4", "", "3gp"),
        (b"OggS\x00", "audio/ogg; codecs=opus", "ogg"),
        (b"hello", "text/plain; charset=utf-8", "txt"),
        (b"MZ", "application/x-msdownload", "bin"),
        (b"", "", "bin"),
    ],
)
def test_extension_comes_from_content_first(head: bytes, declared: str, expected: str) -> None:
    assert keys.extension(head, declared) == expected


@given(st.binary(max_size=32), st.text(max_size=60))
def test_no_content_and_no_type_leads_out_of_the_prefix(head: bytes, declared: str) -> None:
    key = keys.object_key(Category.STATUS, "one", 1_790_000_000.0, "ab" * 32, keys.extension(head, declared))
    assert key.startswith("statuses/one/2026-09-2")
    assert ".." not in key


@pytest.mark.parametrize(
    "key",
    ["../x", "statuses/../../etc/passwd", "statuses/one/2026-01-01/x.jpg", "statuses/one/2026-01-01/" + "a" * 32, ""],
)
def test_other_forms_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        keys.check_key(key)
