"""Small stanzas that more than one part of the server says."""

from __future__ import annotations

import secrets
import time
from typing import Final

from appliance.staging.codec.binary_xml import AttrValue, Node
from appliance.staging.codec.jid import SERVER

Attrs = dict[str, AttrValue]
_ID_BYTES: Final = 10


def message_id() -> str:
    """As phones make them: hexadecimal, 3A in front (so that they are told from the engine's 3EB0)."""
    return "3A" + secrets.token_hex(_ID_BYTES - 1).upper()


def now() -> str:
    """Seconds since the epoch, as stanzas carry them."""
    return str(int(time.time()))


def result(request: Node, *content: Node) -> Node:
    """The answer to an IQ; clients match it by its id alone."""
    attrs: Attrs = {"from": SERVER, "type": "result", "id": request.attr("id") or ""}
    return Node("iq", attrs, list(content) or None)


def error(request: Node, code: int, text: str) -> Node:
    attrs: Attrs = {"from": SERVER, "type": "error", "id": request.attr("id") or ""}
    return Node("iq", attrs, [Node("error", {"code": str(code), "text": text})])


def ack(stanza: Node, **more: AttrValue) -> Node:
    """The server has taken a message or a receipt from a client."""
    attrs: Attrs = {"class": stanza.tag, "id": stanza.attr("id") or "", "t": now()}
    for ours, theirs in (("from", "to"), ("participant", "participant"), ("recipient", "recipient")):
        address = stanza.jid(theirs)
        if address is not None:
            attrs[ours] = address
    kind = stanza.attr("type")
    if kind and stanza.tag == "receipt":
        attrs["type"] = kind
    return Node("ack", attrs | more)


def stream_error(code: int = 0, conflict: str = "") -> Node:
    attrs: Attrs = {"code": str(code)} if code else {}
    return Node("stream:error", attrs, [Node("conflict", {"type": conflict})] if conflict else None)


def failure(reason: int, expire_s: int) -> Node:
    """The answer to a login that is refused. 402 is a temporary ban and says how long."""
    attrs: Attrs = {"reason": str(reason), "location": "frc"}
    if reason == TEMPORARY_BAN:
        attrs |= {"code": "101", "expire": str(expire_s)}
    return Node("failure", attrs)


TEMPORARY_BAN: Final = 402
LOGGED_OUT: Final = 401
"""Failure reasons as whatsmeow (types/events, ConnectFailureReason) names them."""
