from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec import protobuf
from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.protobuf import Fields

numbers = st.integers(1, protobuf.MAX_FIELD)
scalars = st.integers(0, (1 << 64) - 1) | st.booleans() | st.binary(max_size=50) | st.text(max_size=20)
messages = st.recursive(
    st.dictionaries(numbers, scalars | st.lists(scalars, min_size=1, max_size=3), max_size=4),
    lambda inner: st.dictionaries(numbers, inner | st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=3),
    max_leaves=6,
)


def _same(value: protobuf.Value, decoded: int | bytes) -> None:
    if isinstance(value, Mapping):
        assert isinstance(decoded, bytes)
        _check(value, protobuf.decode(decoded))
    else:
        assert decoded == (value.encode() if isinstance(value, str) else value)


def _check(message: protobuf.Message, fields: Fields) -> None:
    assert fields.numbers() == list(message)
    for number, value in message.items():
        expected = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
        for one, decoded in zip(expected, fields.all(number), strict=True):
            _same(one, decoded)


@given(messages)
def test_every_message_comes_back(message: protobuf.Message) -> None:
    _check(message, protobuf.decode(protobuf.encode(message)))


def test_known_bytes() -> None:
    """The examples of the format's own documentation ("Encoding")."""
    assert protobuf.encode({1: 150}) == bytes.fromhex("089601")
    assert protobuf.encode({2: "testing"}) == bytes.fromhex("120774657374696e67")
    assert protobuf.encode({3: {1: 150}}) == bytes.fromhex("1a03089601")
    assert protobuf.encode({1: -2}) == bytes.fromhex("08feffffffffffffffff01")


def test_fixed_width_numbers_are_read() -> None:
    fields = protobuf.decode(bytes.fromhex("0d01000000110200000000000000"))
    assert (fields.int(1), fields.int(2)) == (1, 2)


def test_absent_fields_are_defaults_and_the_last_one_counts() -> None:
    fields = protobuf.decode(protobuf.encode({1: [1, 2], 2: b"x", 3: [{1: "a"}, {1: "b"}]}))
    assert fields.int(1) == 2
    assert [inner.str(1) for inner in fields.messages(3)] == ["a", "b"]
    assert fields.message(3).str(1) == "b"
    assert (fields.int(9), fields.bytes(9), fields.str(9), fields.message(9).has(1)) == (0, b"", "", False)
    assert fields.has(2)
    assert fields.has_any([9, 2])
    assert not fields.has_any([9])


def test_the_wrong_type_is_named() -> None:
    fields = protobuf.decode(protobuf.encode({1: 5, 2: b"\xff"}))
    with pytest.raises(DecodeError, match="field 1 is not bytes"):
        fields.bytes(1)
    with pytest.raises(DecodeError, match="field 1 is not bytes"):
        fields.messages(1)
    with pytest.raises(DecodeError, match="field 2 is not a number"):
        fields.int(2)
    with pytest.raises(DecodeError, match="field 2 is not UTF-8"):
        fields.str(2)


@given(st.binary(max_size=100))
def test_noise_never_raises_anything_else(data: bytes) -> None:
    try:
        protobuf.decode(data)
    except DecodeError:
        return


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("08", "cut off"),
        ("08ffffffffffffffffffff01", "longer than 64 bits"),
        ("0aff01", "255 bytes expected"),
        ("0affffffffffffffffff01", "bytes expected"),
        ("0a05616263", "5 bytes expected, 3 left"),
        ("00", "field number 0"),
        ("0b", "wire type 3"),
        ("0f", "wire type 7"),
        ("0d0000", "4 bytes expected"),
    ],
)
def test_hostile_messages_are_named(data: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        protobuf.decode(bytes.fromhex(data))


def test_a_bomb_of_fields_is_stopped() -> None:
    with pytest.raises(DecodeError, match="more than"):
        protobuf.decode(b"\x08\x00" * (protobuf.MAX_FIELDS + 1))


@pytest.mark.parametrize("number", [0, -1, protobuf.MAX_FIELD + 1])
def test_a_field_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="field"):
        protobuf.encode({number: 1})
