"""Protobuf without schemas: fields by number.

The peer of a client must not share the client's own generated code: a mistake in it would then cancel itself out.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from appliance.staging.codec.errors import DecodeError

Value = int | bool | bytes | str | Mapping[int, "Value | Sequence[Value]"]
Message = Mapping[int, Value | Sequence[Value]]
"""A message to encode: a list repeats its field, a mapping is a message inside."""

_VARINT: Final = 0
_FIXED_64: Final = 1
_LENGTH: Final = 2
_FIXED_32: Final = 5
_FIXED_SIZE: Final = {_FIXED_64: 8, _FIXED_32: 4}

_MAX_VARINT_BYTES: Final = 10
"""64 bits at seven a byte."""
_MASK_64: Final = (1 << 64) - 1
MAX_FIELD: Final = (1 << 29) - 1
"""Largest field number of the format."""
MAX_FIELDS: Final = 200_000
"""Fields of one message; two bytes make a field of some hundred in memory."""


def encode(fields: Message) -> bytes:
    """Encode in the order given. None of the proto3 rules on defaults: what is in `fields` is written.

    Negative numbers become 64 bits wide, as int32 and int64 do.
    """
    out = bytearray()
    for number, value in fields.items():
        if not 1 <= number <= MAX_FIELD:
            raise ValueError(f"field {number} is not between 1 and {MAX_FIELD}")
        repeated = value if isinstance(value, Sequence) and not isinstance(value, bytes | str) else [value]
        for item in repeated:
            _write_field(out, number, item)
    return bytes(out)


def _write_field(out: bytearray, number: int, value: Value) -> None:
    if isinstance(value, int):
        out += varint(number << 3 | _VARINT)
        out += varint(value)
        return
    text_or_bytes = value.encode() if isinstance(value, str) else value
    body = text_or_bytes if isinstance(text_or_bytes, bytes) else encode(text_or_bytes)
    out += varint(number << 3 | _LENGTH)
    out += varint(len(body))
    out += body


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first."""
    value &= _MASK_64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Fields:
    """A decoded message. An absent field reads as the default of its type, as in protobuf; ask `has` to know.

    Where a field that is read as single occurs several times, the last one counts. Every reader raises DecodeError if
    the field is of another type; its offset is then 0.
    """

    def __init__(self, values: Mapping[int, Sequence[builtins.int | builtins.bytes]]) -> None:
        self._values = values

    def has(self, number: builtins.int) -> bool:
        return number in self._values

    def all(self, number: builtins.int) -> list[builtins.int | builtins.bytes]:
        """Every occurrence as it was on the wire."""
        return list(self._values.get(number, ()))

    def numbers(self) -> list[builtins.int]:
        """Which fields are present, in the order of their first occurrence."""
        return list(self._values)

    def int(self, number: builtins.int) -> builtins.int:
        """An unsigned number (a bool is 0 or 1)."""
        values = self._values.get(number)
        if not values:
            return 0
        if not isinstance(values[-1], int):
            raise DecodeError(f"field {number} is not a number", 0)
        return values[-1]

    def bytes(self, number: builtins.int) -> builtins.bytes:
        values = self._values.get(number)
        if not values:
            return b""
        if not isinstance(values[-1], bytes):
            raise DecodeError(f"field {number} is not bytes", 0)
        return values[-1]

    def str(self, number: builtins.int) -> builtins.str:
        try:
            return self.bytes(number).decode()
        except UnicodeDecodeError:
            raise DecodeError(f"field {number} is not UTF-8", 0) from None

    def message(self, number: builtins.int) -> Fields:
        """The message inside; an empty one if the field is absent."""
        return decode(self.bytes(number))

    def messages(self, number: builtins.int) -> list[Fields]:
        """Every message of a repeated field."""
        return [decode(body) for body in self.all_bytes(number)]

    def all_bytes(self, number: builtins.int) -> list[builtins.bytes]:
        """Every occurrence of a field of bytes."""
        values = self._values.get(number, ())
        found = [value for value in values if isinstance(value, bytes)]
        if len(found) != len(values):
            raise DecodeError(f"field {number} is not bytes", 0)
        return found

    def has_any(self, numbers: Iterable[builtins.int]) -> bool:
        return any(number in self._values for number in numbers)


def decode(data: bytes) -> Fields:
    """Read one message, not the messages inside: those are read when asked for. Raises DecodeError."""
    values: dict[int, list[int | bytes]] = {}
    position = count = 0
    while position < len(data):
        start = position
        key, position = _read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if not 1 <= number <= MAX_FIELD:
            raise DecodeError(f"field number {number}", start)
        count += 1
        if count > MAX_FIELDS:
            raise DecodeError(f"more than {MAX_FIELDS} fields", start)
        value: int | bytes
        if wire_type == _VARINT:
            value, position = _read_varint(data, position)
        elif wire_type == _LENGTH:
            size, position = _read_varint(data, position)
            value, position = _take(data, position, size)
        elif wire_type in _FIXED_SIZE:
            raw, position = _take(data, position, _FIXED_SIZE[wire_type])
            value = int.from_bytes(raw, "little")
        else:
            raise DecodeError(f"wire type {wire_type} of field {number}", start)
        values.setdefault(number, []).append(value)
    return Fields(values)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & _MASK_64, position + index + 1
    raise DecodeError("a number that is cut off or longer than 64 bits", position)


def _take(data: bytes, position: int, size: int) -> tuple[bytes, int]:
    if size > len(data) - position:
        raise DecodeError(f"{size} bytes expected, {len(data) - position} left", position)
    return data[position : position + size], position + size
