"""What is hidden in texts, and what must stay readable."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from appliance.logging import configure_logging
from appliance.masking import HIDDEN, clean_field, clean_text, hide_target, mask_numbers


@pytest.mark.parametrize(
    "text",
    [
        "paired +221 77 123 45 12 now",
        "paired +221-77-123-45-12.",
        "from 221771234512@s.whatsapp.net",
        "from 221771234512:17@s.whatsapp.net",
        "from 221771234512.0:17@s.whatsapp.net",
        "chat 221771234512@c.us",
        "to 221771234512",
        "statuses/221771234512/x.jpg",
        '{"phone":"221771234512"}',
        "221771234512",
    ],
)
def test_numbers_are_masked(text: str) -> None:
    masked = clean_text(text)
    assert "7712345" not in masked.replace(" ", "").replace("-", "")
    assert "22177" in masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pid 4194304, 1048576 bytes, code 503",
        "at 1763888495.123",
        "2026-11-23T09:01:35.123456Z",
        "message 3EB0C7671ABF2A3D45E1",
        "127.0.0.1:18080 closed after 30.250 s",
        "session awa: restarting in 9 s",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert clean_text(text) == text


@given(st.integers(min_value=10**9, max_value=10**15 - 1), st.text(alphabet=" ,;()[]'\"<>=", max_size=3))
def test_a_number_between_anything_is_masked(number: int, around: str) -> None:
    assert str(number) not in mask_numbers(f"x{around} {number} {around}")
    assert str(number) not in mask_numbers(f"{around}{number}@s.whatsapp.net")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/T0/secret", "https://hooks.example.org/···"),
        ("https://user:pass@hooks.example.org:8443/x?key=1", "https://hooks.example.org:8443/···"),
        ("mailto://user:pass@example.org", "mailto://example.org/···"),
        ("tgram://123:abc/42", "tgram://···"),
        ("https://[broken/secret", "https://···"),
    ],
)
def test_targets_are_shown_without_their_secrets(url: str, shown: str) -> None:
    assert hide_target(url) == shown
    assert "secret" not in clean_text(f"failed: {url} (refused)")


def test_secret_words() -> None:
    for text in ("token=abcdef1", "Authorization: Bearer abcdef1", '"password": "abcdef1"', "pairing code: abcdef1"):
        assert "abcdef1" not in clean_text(text)


def test_fields_that_are_secret_by_name() -> None:
    assert clean_field("code", "ABCD-EFGH") == HIDDEN
    assert clean_field("code", 503) == 503
    assert clean_field("token", None) is None
    assert clean_field("data", {"qr": "2@x", "n": ["221771234512", 5]}) == {"qr": HIDDEN, "n": ["+22177·····12", 5]}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def test_log_lines_are_masked_wherever_they_come_from(log: io.StringIO) -> None:
    configure_logging("info", "json", log)
    structlog.get_logger("ours").info("paired 221771234512", session="awa", code="ABCD", status=401)
    logging.getLogger("library").warning("asked %s", "221771234512@s.whatsapp.net")
    structlog.get_logger("ours").debug("not at this level")
    try:
        raise ValueError("221771234512")
    except ValueError:
        structlog.get_logger("ours").exception("failed")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert len(lines) == 3
    assert "7712345" not in log.getvalue()
    assert (lines[0]["session"], lines[0]["code"], lines[0]["status"]) == ("awa", HIDDEN, 401)
    assert lines[0]["level"] == "info"
    assert lines[1]["logger"] == "library"
    assert "ValueError" in lines[2]["exception"]


def test_a_console_gets_one_line_per_event(log: io.StringIO) -> None:
    configure_logging("debug", "console", log)
    structlog.get_logger("ours").debug("hello", session="awa")
    assert len(log.getvalue().splitlines()) == 1
    assert "session=awa" in log.getvalue()
