from __future__ import annotations

import importlib.resources
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.staging.codec import binary_xml
from appliance.staging.codec.binary_xml import AttrValue, Node, decode, encode, pack_frame_payload, unpack_frame_payload
from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.jid import G_US, HOSTED, HOSTED_LID, INTEROP, LID, MESSENGER, S_WHATSAPP_NET, SERVER, Jid

TABLES = json.loads(importlib.resources.files("appliance.staging").joinpath("data/binary_xml_tokens.json").read_text())
WORDS = [*TABLES["single"][1:], *(word for table in TABLES["double"] for word in table)]

texts = st.one_of(
    st.sampled_from(WORDS),
    st.text("0123456789-.", min_size=1, max_size=130),
    st.text("0123456789ABCDEF", min_size=1, max_size=130),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=300),
)
users = st.text("0123456789abcXYZ_", min_size=1, max_size=20)
jids = st.one_of(
    st.builds(Jid, users | st.just(""), st.sampled_from([S_WHATSAPP_NET, LID, G_US, "broadcast", "example.net"])),
    st.builds(Jid, users, st.sampled_from([S_WHATSAPP_NET, LID, HOSTED, HOSTED_LID]), st.integers(1, 255)),
    st.builds(Jid, users, st.just(MESSENGER), st.integers(0, 0xFFFF)),
    st.builds(
        lambda number, user, device: Jid(f"{number}-{user}", INTEROP, device),
        st.integers(0, 0xFFFF),
        users,
        st.integers(0, 0xFFFF),
    ),
)
attrs: st.SearchStrategy[dict[str, AttrValue]] = st.dictionaries(texts, texts | jids, max_size=4)
contents = st.none() | st.binary(max_size=400)
nodes = st.recursive(
    st.builds(Node, texts, attrs, contents),
    lambda children: st.builds(Node, texts, attrs, st.lists(children, max_size=4)),
    max_leaves=12,
)


@given(nodes)
def test_every_node_comes_back(node: Node) -> None:
    assert unpack_frame_payload(pack_frame_payload(node)) == node


@given(nodes)
def test_compressed_payload_is_the_same_node(node: Node) -> None:
    assert unpack_frame_payload(b"\x02" + zlib.compress(encode(node))) == node


def test_every_word_of_the_dictionary_is_its_token() -> None:
    for byte, word in enumerate(TABLES["single"]):
        if word:
            assert encode(Node(word)) == bytes([248, 1, byte])
            assert decode(bytes([248, 1, byte])).tag == word
    for table, words in enumerate(TABLES["double"]):
        for index, word in enumerate(words):
            assert encode(Node(word)) == bytes([248, 1, 236 + table, index])
            assert decode(bytes([248, 1, 236 + table, index])).tag == word


def test_known_bytes() -> None:
    """Tokens by hand: iq = 25, from = 6, s.whatsapp.net = 3 in the published dictionary version 3."""
    single = TABLES["single"]
    node = Node("iq", {"from": SERVER, "id": "12-3"}, b"\x01\x02")
    assert encode(node) == bytes([248, 6, single.index("iq"), 6, 250, 0, 3, 8, 255, 2, 0x12, 0xA3, 252, 2, 1, 2])
    device = Node("to", {"jid": Jid("123", LID, 5)})
    assert encode(device) == bytes([248, 3, single.index("to"), single.index("jid"), 247, 1, 5, 255, 0x82, 0x12, 0x3F])
    assert encode(Node("id", {}, [])) == bytes([248, 2, 8, 0])
    assert decode(bytes([248, 2, 8, 251, 0x82, 0xAB, 0xCF])).content == b"ABC"


@pytest.mark.parametrize("size", [0, 255, 256, (1 << 20) - 1, 1 << 20])
def test_content_sizes_at_the_edges_of_the_encodings(size: int) -> None:
    assert decode(encode(Node("value", {}, bytes(size)))).bytes() == bytes(size)


def test_many_children_use_the_wide_list() -> None:
    node = Node("list", {}, [Node("key", {}, bytes([n % 256])) for n in range(812)])
    assert decode(encode(node)) == node


def test_numbers_become_text_and_empty_attributes_vanish() -> None:
    decoded = decode(encode(Node("success", {"t": 1700000000, "name": ""})))
    assert decoded.attrs == {"t": "1700000000"}


@pytest.mark.parametrize("word", ["3", "Firefox (Linux)", "result"])
def test_content_that_is_text_becomes_bytes(word: str) -> None:
    as_attr = encode(Node("x", {"id": word}))
    value = as_attr[as_attr.index(8) + 1 :]
    assert decode(bytes([248, 2, 8]) + value).content == word.encode()


def test_helpers() -> None:
    node = Node("a", {"n": 5, "j": Jid("1", LID), "s": "1:2@lid"}, [Node("b", {}, b"1"), Node("c"), Node("b")])
    first = node.child("b")
    assert first is not None
    assert first.bytes() == b"1"
    assert len(node.children("b")) == 2
    assert len(node.children()) == 3
    assert node.child("d") is None
    assert (node.attr("n"), node.attr("j"), node.attr("missing")) == ("5", "1@lid", None)
    assert node.jid("s") == Jid("1", LID, 2)
    assert node.bytes() == b""


@given(st.binary(max_size=200))
def test_noise_never_raises_anything_else(data: bytes) -> None:
    for read in (decode, unpack_frame_payload):
        try:
            read(data)
        except DecodeError:
            continue


@given(nodes, st.data())
def test_damaged_stanzas_never_raise_anything_else(node: Node, data: st.DataObject) -> None:
    packed = bytearray(encode(node))
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(DecodeError):
        decode(bytes(packed[:cut]))
    packed[cut] ^= data.draw(st.integers(1, 255))
    try:
        decode(bytes(packed))
    except DecodeError:
        return


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "1 bytes expected"),
        (bytes([248, 1, 8, 0]), "after the end"),
        (bytes([0]), "without a tag"),
        (bytes([248, 1, 252, 0]), "empty tag"),
        (bytes([248, 1, 240]), "text expected"),
        (bytes([25]), "list expected"),
        (bytes([248, 2, 8, 254, 255, 255, 255, 255]), "4294967295 bytes expected"),
        (bytes([248, 2, 8, 249, 255, 255]), "1 bytes expected"),
        (bytes([248, 1, 252, 2, 0xC3, 0x28]), "not UTF-8"),
        (bytes([248, 1, 255, 1, 0xC0]), "outside its alphabet"),
        (bytes([248, 1, 255, 0x80]), "without a byte"),
        (bytes([248, 3, 8, 8, 247, 7, 1, 255, 1, 0x12]), "unknown domain"),
        (bytes([248, 3, 8, 8, 250, 0, 252, 0]), "without a server"),
        (bytes([248, 3, 8, 8, 247, 0, 1, 0]), "device 1 of nobody"),
        (bytes([248, 3, 8, 8, 246, 0, 0, 1, 3]), "device 1 of nobody"),
        (bytes([248, 2, 8, 248, 1]) * (binary_xml.MAX_DEPTH + 1) + bytes([248, 1, 8]), "levels"),
    ],
)
def test_hostile_stanzas_are_named(data: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode(data)


def test_an_error_says_where() -> None:
    with pytest.raises(DecodeError, match="at byte 2") as caught:
        decode(bytes([248, 1, 240]))
    assert caught.value.offset == 2


def test_a_bomb_of_nodes_is_stopped() -> None:
    row = bytes([248, 2, 8, 249, 255, 255]) + bytes([248, 1, 8]) * 65535
    with pytest.raises(DecodeError, match="nodes"):
        decode(row)


def test_a_zlib_bomb_is_stopped() -> None:
    with pytest.raises(DecodeError, match="too long"):
        unpack_frame_payload(b"\x02" + zlib.compress(bytes(binary_xml.MAX_INFLATED + 1)))
    with pytest.raises(DecodeError, match="not a zlib stream"):
        unpack_frame_payload(b"\x02nonsense")
    with pytest.raises(DecodeError, match="cut off"):
        unpack_frame_payload(b"\x02" + zlib.compress(encode(Node("iq")))[:-1])


@pytest.mark.parametrize(
    "node",
    [
        Node(""),
        Node("a", {"j": Jid("1", LID, 256)}),
        Node("a", {"j": Jid("1", "example.net", 1)}),
        Node("a", {}, [Node("b")] * 65536),
    ],
)
def test_what_the_format_cannot_hold_is_refused(node: Node) -> None:
    with pytest.raises(ValueError, match=r"tag|attrs|content"):
        encode(node)
