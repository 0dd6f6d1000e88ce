"""Answers to what logged-in devices ask: one table from namespace to handler.

A request that the table does not know is journalled, counted and answered with an empty result, so that a bench shows
at once that the engine has begun to ask for something new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from appliance.staging import stanzas
from appliance.staging.accounts import Directory, Prekey, SignedPrekey
from appliance.staging.codec.binary_xml import Node
from appliance.staging.codec.jid import LID, S_WHATSAPP_NET, Jid
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.endpoints import Endpoints
from appliance.staging.faults import Faults
from appliance.staging.journal import Journal
from appliance.staging.phone import Phone
from appliance.staging.session import Session
from appliance.staging.tls import MEDIA_HOST, SECOND_MEDIA_HOST
from appliance.staging.usync import Usync

Handler = Callable[[Session, Node], list[Node] | None]
"""The content of the answer; None: no answer, or it was sent already."""
MEDIA_TTL_S: Final = 300
"""How long the engine may use the media hosts that it was told; the service says 300 as well."""
_SIGNAL_KEY_TYPE: Final = b"\x05"
GROUP_SUBJECT: Final = "Famille"


class UnknownRequestError(Exception):
    """Nobody has taught the network this request."""


class RefusedError(Exception):
    """The request is understood and refused."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass
class Requests:
    directory: Directory
    endpoints: Endpoints
    faults: Faults
    journal: Journal
    phone: Phone
    usync: Usync
    _table: dict[str, Handler] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._table = {
            "encrypt": self._encrypt,
            "passive": self._passive,
            "w:p": _empty,
            "w:m": self._media_conn,
            "w:sync:app:state": self._app_state,
            "usync": self.usync.answer,
            "privacy": _privacy,
            "blocklist": lambda _session, _node: [Node("list", {})],
            "md": self._md,
            "status": _status,
            "w:g2": self._groups,
            "w:profile:picture": _picture,
            "w:qr": lambda _session, _node: [Node("qr", {"type": "contact", "code": "STAGING0CONTACT"})],
            "urn:xmpp:whatsapp:dirty": _empty,
            "urn:xmpp:whatsapp:push": _empty,
            "disappearing_mode": _empty,
        }

    def handle(self, session: Session, node: Node) -> None:
        namespace = node.attr("xmlns") or ""
        silent = self.faults.find([FaultKind.SILENT_IQ], session.target, text=namespace)
        if not silent and namespace == "w:p":
            silent = self.faults.find([FaultKind.NO_PONG], session.target)
        if silent:
            return
        handler = self._table.get(namespace)
        try:
            if handler is None:
                raise UnknownRequestError(namespace)
            content = handler(session, node)
        except UnknownRequestError as error:
            children = ",".join(child.tag for child in node.children())
            what = f"{namespace} {node.attr('type')} <{children}> {error}"
            self.journal.add(JournalKind.UNKNOWN_REQUEST, session.account.phone, session.number, what=what.strip())
            content = []
        except RefusedError as error:
            session.send(stanzas.error(node, error.code, error.text))
            return
        if content is not None:
            session.send(stanzas.result(node, *content))

    # ---- keys

    def _encrypt(self, session: Session, node: Node) -> list[Node]:
        phone, number = session.account.phone, session.number
        if node.child("count") is not None:
            return [Node("count", {"value": str(self.directory.prekey_count(phone, number))})]
        asked = node.child("key")
        if asked is not None:
            users = [self._bundle(session, user) for user in asked.children("user")]
            return [Node("list", {}, users)]
        signed = node.child("skey") or (node.child("rotate") or Node("rotate")).child("skey")
        if signed is not None:
            device = session.account.devices[number]
            identifier, public = _key(signed)
            signature = signed.child("signature")
            device.signed_prekey = SignedPrekey(identifier, public, signature.bytes() if signature else b"")
            self.directory.save(session.account)
        listed = node.child("list")
        if listed is not None:
            self.directory.add_prekeys(phone, number, [Prekey(*_key(key)) for key in listed.children("key")])
        if signed is None and listed is None:
            raise UnknownRequestError
        return []

    def _bundle(self, session: Session, user: Node) -> Node:
        """The keys of one device that somebody wants to write to; `jid` goes back exactly as it was asked for."""
        jid = user.jid("jid")
        phone = self.directory.phone_of(jid) if jid is not None else None
        if jid is None or phone is None:
            return Node("user", dict(user.attrs), [Node("error", {"code": "404", "text": "item-not-found"})])
        one_time = self.faults.find([FaultKind.NO_PREKEYS], session.target) is None
        if jid.device:
            account = self.directory.account(phone)
            if account is None or jid.device not in account.devices:
                return Node("user", dict(user.attrs), [Node("error", {"code": "404", "text": "item-not-found"})])
            bundle = self.endpoints.device_bundle(account, jid.device, one_time=one_time)
        else:
            bundle = self.endpoints.bundle(phone, one_time=one_time)
        content = [
            Node("registration", {}, bundle.registration_id.to_bytes(4)),
            Node("type", {}, _SIGNAL_KEY_TYPE),
            Node("identity", {}, bundle.identity),
            Node(
                "skey",
                {},
                [
                    Node("id", {}, bundle.signed_pre_key_id.to_bytes(3)),
                    Node("value", {}, bundle.signed_pre_key),
                    Node("signature", {}, bundle.signed_pre_key_signature),
                ],
            ),
        ]
        if bundle.pre_key_id is not None and bundle.pre_key is not None:
            key = [Node("id", {}, bundle.pre_key_id.to_bytes(3)), Node("value", {}, bundle.pre_key)]
            content.append(Node("key", {}, key))
        return Node("user", {"jid": jid}, content)

    # ---- the connection

    def _passive(self, session: Session, node: Node) -> None:
        session.send(stanzas.result(node))
        if node.child("active") is not None:
            session.activate()

    def _media_conn(self, session: Session, node: Node) -> list[Node]:
        if node.child("media_conn") is None:
            raise UnknownRequestError
        hosts = [Node("host", {"hostname": host}) for host in (MEDIA_HOST, SECOND_MEDIA_HOST)]
        # The account as the token: so an upload tells the media host whose it is.
        attrs: stanzas.Attrs = {
            "auth": session.account.phone,
            "ttl": str(MEDIA_TTL_S),
            "auth_ttl": "21600",
            "max_buckets": "12",
        }
        return [Node("media_conn", attrs, hosts)]

    def _md(self, session: Session, node: Node) -> list[Node] | None:
        removed = node.child("remove-companion-device")
        if removed is None:
            raise UnknownRequestError
        session.send(stanzas.result(node))
        jid = removed.jid("jid")
        number = jid.device if jid is not None else session.number
        if number in session.account.devices:
            self.phone.remove_device(session.account, number, by="device" if number == session.number else "phone")
        if number == session.number:  # the device closes by itself once it has read the answer
            session.connection.close_soon("logged out")
        return None

    # ---- what the account's devices share

    def _app_state(self, session: Session, node: Node) -> list[Node]:
        sync = node.child("sync")
        if sync is None:
            raise UnknownRequestError
        collections = []
        for asked in sync.children("collection"):
            name = asked.attr("name") or ""
            if asked.children("patch"):
                raise RefusedError(405, "not-allowed")
            newest, patches = self.phone.app_state(session.account, name, int(asked.attr("version") or "0"))
            content = [Node("patches", {}, [Node("patch", {}, patch) for patch in patches])] if patches else None
            collections.append(Node("collection", {"name": name, "version": str(newest)}, content))
        return [Node("sync", {}, collections)]

    # ---- groups

    def _groups(self, session: Session, node: Node) -> list[Node]:
        if node.child("participating") is not None:
            return [Node("groups", {})]
        group = node.jid("to")
        if node.child("query") is None or group is None or not group.user:
            raise UnknownRequestError
        own = session.account
        members = [own.phone, *(str(int(own.phone) // 10 * 10 + n) for n in (1, 2) if int(own.phone) % 10 != n)]
        participants = [
            Node("participant", {"jid": Jid(self.directory.meet(m), LID), "phone_number": Jid(m, S_WHATSAPP_NET)})
            for m in members
        ]
        attrs: stanzas.Attrs = {
            "id": group.user,
            "creator": own.lid_jid(),
            "creation": "1700000000",
            "s_t": "1700000000",
            "s_o": own.lid_jid(),
            "subject": GROUP_SUBJECT,
            "addressing_mode": "lid",
        }
        return [Node("group", attrs, participants)]


def _key(node: Node) -> tuple[int, bytes]:
    identifier, value = node.child("id"), node.child("value")
    return (
        int.from_bytes(identifier.bytes()) if identifier is not None else 0,
        value.bytes() if value is not None else b"",
    )


def _empty(_session: Session, _node: Node) -> list[Node]:
    return []


def _privacy(_session: Session, node: Node) -> list[Node]:
    if node.attr("type") == "set":
        return []
    names = ("readreceipts", "last", "online", "profile", "status", "groupadd", "calladd")
    return [Node("privacy", {}, [Node("category", {"name": name, "value": "all"}) for name in names])]


def _status(_session: Session, node: Node) -> list[Node]:
    if node.child("privacy") is not None:
        return [Node("privacy", {}, [Node("list", {"type": "contacts", "default": "true"})])]
    return []


def _picture(_session: Session, _node: Node) -> list[Node]:
    raise RefusedError(404, "item-not-found")
