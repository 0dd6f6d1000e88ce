"""What a single byte can stand for in binary XML: a word of the dictionary, or the kind of what follows."""

from __future__ import annotations

import enum
import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from appliance.staging.codec.jid import HOSTED, HOSTED_LID, LID, S_WHATSAPP_NET

PACKED_MAX: Final = 127
"""Seven bits count the bytes of a packed string; longer ones are sent as they are."""
NIBBLES: Final = "0123456789-."
HEX: Final = "0123456789ABCDEF"
PADDING: Final = 0x0F
"""Fills the last half byte of a packed string of odd length."""


class Tag(enum.IntEnum):
    """First bytes that are no token of the dictionary."""

    LIST_EMPTY = 0
    DICTIONARY_0 = 236
    DICTIONARY_3 = 239
    INTEROP_JID = 245
    FB_JID = 246
    AD_JID = 247
    LIST_8 = 248
    LIST_16 = 249
    JID_PAIR = 250
    HEX_8 = 251
    BINARY_8 = 252
    BINARY_20 = 253
    BINARY_32 = 254
    NIBBLE_8 = 255


DOMAINS: Final = {S_WHATSAPP_NET: 0, LID: 1, HOSTED: 128, HOSTED_LID: 129}
"""Domain byte of a JID with a device."""
SERVER_OF_DOMAIN: Final = {number: server for server, number in DOMAINS.items()}


@dataclass(frozen=True)
class Dictionary:
    single: list[str]
    double: list[list[str]]
    single_index: Mapping[str, int]
    double_index: Mapping[str, tuple[int, int]]


@functools.cache
def dictionary() -> Dictionary:
    """Tokens of the protocol: one byte for the first list, dictionary and index for the four others."""
    text = importlib.resources.files("appliance.staging").joinpath("data/binary_xml_tokens.json").read_text("utf-8")
    tables = json.loads(text)
    single, double = tables["single"], tables["double"]
    return Dictionary(
        single,
        double,
        {word: byte for byte, word in enumerate(single) if word},
        {word: (table, index) for table, words in enumerate(double) for index, word in enumerate(words)},
    )
