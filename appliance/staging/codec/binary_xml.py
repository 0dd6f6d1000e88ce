"""The binary XML (dictionary version 3) that carries every stanza between WhatsApp and its clients.

Written for input of a stranger: `decode` raises DecodeError and nothing else, and bounds depth, nodes and inflated
size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.jid import INTEROP, MESSENGER, Jid
from appliance.staging.codec.tokens import (
    DOMAINS,
    HEX,
    NIBBLES,
    PACKED_MAX,
    PADDING,
    SERVER_OF_DOMAIN,
    Tag,
    dictionary,
)

MAX_DEPTH: Final = 32
"""The deepest stanza of the protocol is eight deep; more is an attack on the stack."""
MAX_NODES: Final = 50_000
"""The largest known stanza, 812 pre-keys, has some 2,500 nodes; three bytes make a node of some hundred in memory."""
MAX_INFLATED: Final = 16 * 1024 * 1024
"""Bytes of a decompressed payload: the limit of a frame, whose length has 24 bits."""

FLAG_PLAIN: Final = 0
FLAG_ZLIB: Final = 2
"""Bit of the first byte of a payload: the rest is a zlib stream."""

_LISTS: Final = frozenset({Tag.LIST_EMPTY, Tag.LIST_8, Tag.LIST_16})

AttrValue = str | int | Jid


@dataclass(slots=True)
class Node:
    """One element. An attribute that is a Jid is written as a JID; one that is empty text is left out."""

    tag: str
    attrs: dict[str, AttrValue] = field(default_factory=dict)
    content: bytes | list[Node] | None = None

    def children(self, tag: str | None = None) -> list[Node]:
        """Child elements, all of them or those of one tag."""
        if not isinstance(self.content, list):
            return []
        return [node for node in self.content if tag is None or node.tag == tag]

    def child(self, tag: str) -> Node | None:
        """The first child of that tag."""
        return next(iter(self.children(tag)), None)

    def attr(self, name: str) -> str | None:
        """An attribute as text, whatever its encoding."""
        value = self.attrs.get(name)
        return None if value is None else str(value)

    def jid(self, name: str) -> Jid | None:
        """An attribute as a JID, also if it was sent as text. Raises ValueError if it is no JID."""
        value = self.attrs.get(name)
        if value is None or isinstance(value, Jid):
            return value
        return Jid.parse(str(value))

    def bytes(self) -> bytes:
        """The content as bytes; empty if there is none or if it is a list."""
        return self.content if isinstance(self.content, bytes) else b""


def pack_frame_payload(node: Node) -> bytes:
    """What a frame carries after the handshake: the flag byte, then the node, uncompressed."""
    return bytes([FLAG_PLAIN]) + encode(node)


def unpack_frame_payload(payload: bytes) -> Node:
    """Read what `pack_frame_payload` writes, and the compressed form. Raises DecodeError."""
    if not payload:
        raise DecodeError("empty payload", 0)
    body = payload[1:]
    return decode(_inflate(body) if payload[0] & FLAG_ZLIB else body)


def _inflate(body: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(body, MAX_INFLATED)
    except zlib.error as error:
        raise DecodeError(f"not a zlib stream: {error}", 1) from None
    if not stream.eof:
        raise DecodeError("zlib stream is cut off or too long when inflated", 1 + len(body))
    return plain


def encode(node: Node) -> bytes:
    """One node without the flag byte. Raises ValueError for what the format cannot hold."""
    out = bytearray()
    _write_node(out, node)
    return bytes(out)


def _write_node(out: bytearray, node: Node) -> None:
    if not node.tag:
        raise ValueError("tag: a node needs one")
    attrs = [(key, value) for key, value in node.attrs.items() if value != ""]
    has_content = node.content is not None
    _write_list_start(out, 1 + 2 * len(attrs) + has_content)
    _write_text(out, node.tag)
    for key, value in attrs:
        _write_text(out, key)
        if isinstance(value, Jid):
            _write_jid(out, value)
        else:
            _write_text(out, str(value))
    if isinstance(node.content, list):
        _write_list_start(out, len(node.content))
        for child in node.content:
            _write_node(out, child)
    elif node.content is not None:
        _write_raw(out, node.content)


def _write_list_start(out: bytearray, size: int) -> None:
    if size == 0:
        out.append(Tag.LIST_EMPTY)
    elif size < 1 << 8:
        out += bytes([Tag.LIST_8, size])
    elif size < 1 << 16:
        out.append(Tag.LIST_16)
        out += size.to_bytes(2)
    else:
        raise ValueError(f"content: {size} entries, the format holds {(1 << 16) - 1}")


def _write_text(out: bytearray, text: str) -> None:
    words = dictionary()
    if (byte := words.single_index.get(text)) is not None:
        out.append(byte)
    elif (entry := words.double_index.get(text)) is not None:
        out += bytes([Tag.DICTIONARY_0 + entry[0], entry[1]])
    elif _packs(text, NIBBLES):
        _write_packed(out, Tag.NIBBLE_8, text, NIBBLES)
    elif _packs(text, HEX):
        _write_packed(out, Tag.HEX_8, text, HEX)
    else:
        _write_raw(out, text.encode())


def _packs(text: str, alphabet: str) -> bool:
    return 0 < len(text) <= PACKED_MAX and all(char in alphabet for char in text)


def _write_packed(out: bytearray, tag: Tag, text: str, alphabet: str) -> None:
    halves = [alphabet.index(char) for char in text]
    odd = len(halves) % 2
    if odd:
        halves.append(PADDING)
    out += bytes([tag, odd << 7 | len(halves) // 2])
    out += bytes(high << 4 | low for high, low in zip(halves[::2], halves[1::2], strict=True))


def _write_raw(out: bytearray, data: bytes) -> None:
    size = len(data)
    if size < 1 << 8:
        out += bytes([Tag.BINARY_8, size])
    elif size < 1 << 20:
        out.append(Tag.BINARY_20)
        out += size.to_bytes(3)
    elif size < 1 << 32:
        out.append(Tag.BINARY_32)
        out += size.to_bytes(4)
    else:
        raise ValueError(f"content: {size} bytes, the format holds {(1 << 32) - 1}")
    out += data


def _write_jid(out: bytearray, jid: Jid) -> None:
    if jid.server == MESSENGER:
        out.append(Tag.FB_JID)
        _write_text(out, jid.user)
        out += jid.device.to_bytes(2)
        _write_text(out, jid.server)
    elif jid.server == INTEROP:
        integrator, _, user = jid.user.rpartition("-")
        out.append(Tag.INTEROP_JID)
        _write_text(out, user)
        out += jid.device.to_bytes(2) + int(integrator or 0).to_bytes(2)
        _write_text(out, jid.server)
    elif jid.device:
        if jid.server not in DOMAINS or jid.device > 0xFF or not jid.user:
            raise ValueError(f"attrs: no encoding for device {jid.device} on server {jid.server}")
        out += bytes([Tag.AD_JID, DOMAINS[jid.server], jid.device])
        _write_text(out, jid.user)
    else:
        out.append(Tag.JID_PAIR)
        if jid.user:
            _write_text(out, jid.user)
        else:
            out.append(Tag.LIST_EMPTY)
        _write_text(out, jid.server)


def decode(data: bytes) -> Node:
    """Read one node that fills all of `data`. Raises DecodeError."""
    reader = _Reader(data)
    node = reader.node(depth=1)
    if reader.position != len(data):
        raise DecodeError(f"{len(data) - reader.position} bytes after the end of the stanza", reader.position)
    return node


class _Reader:
    """A cursor over one stanza."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._nodes = 0
        self.position = 0
        self._jids: dict[int, Callable[[], Jid]] = {
            Tag.JID_PAIR: self._jid_pair,
            Tag.AD_JID: self._ad_jid,
            Tag.FB_JID: self._fb_jid,
            Tag.INTEROP_JID: self._interop_jid,
        }

    def node(self, depth: int) -> Node:
        start = self.position
        if depth > MAX_DEPTH:
            raise DecodeError(f"more than {MAX_DEPTH} levels", start)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise DecodeError(f"more than {MAX_NODES} nodes", start)
        size = self._list_size(self._byte())
        if size == 0:
            raise DecodeError("a node without a tag", start)
        tag = self._text(self._byte())
        if not tag:
            raise DecodeError("a node with an empty tag", start)
        attrs = dict(self._attribute() for _ in range((size - 1) // 2))
        return Node(tag, attrs, self._content(depth) if size % 2 == 0 else None)

    def _attribute(self) -> tuple[str, AttrValue]:
        key = self._text(self._byte())
        tag = self._byte()
        jid = self._jids.get(tag)
        if jid is not None:
            return key, jid()
        return key, "" if tag == Tag.LIST_EMPTY else self._text(tag)

    def _content(self, depth: int) -> bytes | list[Node]:
        tag = self._byte()
        if tag in _LISTS:
            return [self.node(depth + 1) for _ in range(self._list_size(tag))]
        if (size := self._raw_size(tag)) is not None:
            return self._take(size)
        jid = self._jids.get(tag)
        return (str(jid()) if jid is not None else self._text(tag)).encode()

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._data):
            raise DecodeError(f"{size} bytes expected, {len(self._data) - self.position} left", self.position)
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _byte(self) -> int:
        return self._take(1)[0]

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size))

    def _list_size(self, tag: int) -> int:
        if tag == Tag.LIST_EMPTY:
            return 0
        if tag == Tag.LIST_8:
            return self._byte()
        if tag == Tag.LIST_16:
            return self._number(2)
        raise DecodeError(f"a list expected, not tag {tag}", self.position - 1)

    def _raw_size(self, tag: int) -> int | None:
        if tag == Tag.BINARY_8:
            return self._byte()
        if tag == Tag.BINARY_20:
            return self._number(3) & 0xFFFFF
        if tag == Tag.BINARY_32:
            return self._number(4)
        return None

    def _text(self, tag: int) -> str:
        start = self.position - 1
        words = dictionary()
        if 0 < tag < len(words.single):
            return words.single[tag]
        if Tag.DICTIONARY_0 <= tag <= Tag.DICTIONARY_3:
            return words.double[tag - Tag.DICTIONARY_0][self._byte()]
        if tag == Tag.NIBBLE_8:
            return self._packed(NIBBLES)
        if tag == Tag.HEX_8:
            return self._packed(HEX)
        size = self._raw_size(tag)
        if size is None:
            raise DecodeError(f"text expected, not tag {tag}", start)
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise DecodeError("text that is not UTF-8", start) from None

    def _packed(self, alphabet: str) -> str:
        start = self.position
        header = self._byte()
        halves = list(_half_bytes(self._take(header & 0x7F)))
        if header & 0x80:
            if not halves:
                raise DecodeError("packed text of odd length without a byte", start)
            halves.pop()
        if any(half >= len(alphabet) for half in halves):
            raise DecodeError("packed text with a value outside its alphabet", start)
        return "".join(alphabet[half] for half in halves)

    def _user(self) -> str:
        tag = self._byte()
        return "" if tag == Tag.LIST_EMPTY else self._text(tag)

    def _server(self) -> str:
        start = self.position
        server = self._text(self._byte())
        if not server:
            raise DecodeError("a JID without a server", start)
        return server

    def _jid_pair(self) -> Jid:
        user = self._user()
        return Jid(user, self._server())

    def _ad_jid(self) -> Jid:
        start = self.position
        domain, device = self._byte(), self._byte()
        if domain not in SERVER_OF_DOMAIN:
            raise DecodeError(f"a JID of unknown domain {domain}", start)
        return Jid(_owned(self._user(), device, start), SERVER_OF_DOMAIN[domain], device)

    def _fb_jid(self) -> Jid:
        start = self.position
        user, device = self._user(), self._number(2)
        return Jid(_owned(user, device, start), self._server(), device)

    def _interop_jid(self) -> Jid:
        """The integrator's number is kept in front of the user, as `integrator-user`."""
        user, device, integrator = self._user(), self._number(2), self._number(2)
        return Jid(f"{integrator}-{user}", self._server(), device)


def _owned(user: str, device: int, start: int) -> str:
    if device and not user:
        raise DecodeError(f"a JID for device {device} of nobody", start)
    return user


def _half_bytes(data: bytes) -> Iterator[int]:
    for byte in data:
        yield byte >> 4
        yield byte & 0x0F
