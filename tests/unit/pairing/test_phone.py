"""Phone numbers: what is accepted, and that a refusal says what is wrong without repeating the number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pairing.phone import parse_phone
from appliance.problems import ProblemError


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("+221771234512", None),
        ("+221 77 123 45 12", None),
        ("00221 77-123-45-12", None),
        ("221771234512", None),
        (" +221 (77) 1234512 ", None),
        ("77 123 45 12", "SN"),
    ],
)
def test_accepted_forms(text: str, country: str | None) -> None:
    assert parse_phone(text, country) == "+221771234512"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0771234512", "starts with 0"),
        ("+22177", "too short for SN (+221)"),
        ("+2217712345121234", "too long for SN (+221)"),
        ("77123451", "lacks the country or the area code"),
        ("+999123456789", "country code that does not exist"),
        ("+221 11 111 11 11", "does not exist in the numbering plan of SN"),
        ("call me", "letters"),
        ("+22177ABCDE12", "letters"),
        ("", "no digits"),
    ],
)
def test_refusals_say_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_phone(text)
    problem = caught.value.problem
    assert part in problem.detail
    assert problem.remedy
    assert (problem.status, problem.field) == (400, "phone")
    assert "7712345" not in problem.detail


@given(st.text(max_size=40))
def test_anything_is_a_number_or_a_clear_refusal(text: str) -> None:
    try:
        number = parse_phone(text)
    except ProblemError:
        return
    assert number.startswith("+")
    assert number[1:].isascii()
    assert number[1:].isdigit()
