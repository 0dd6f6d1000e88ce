"""Look-ups of users: which devices they have, which LID, whether they exist at all."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.staging.accounts import Directory, lid_of, name_of
from appliance.staging.codec.binary_xml import AttrValue, Node
from appliance.staging.codec.jid import LID, S_WHATSAPP_NET, Jid
from appliance.staging.control_types import FaultKind
from appliance.staging.faults import Faults
from appliance.staging.session import Session

_ECHOED = ("sid", "mode", "context", "index", "last")


@dataclass
class Usync:
    directory: Directory
    faults: Faults

    def answer(self, session: Session, node: Node) -> list[Node]:
        asked = node.child("usync") or Node("usync")
        query = asked.child("query")
        wanted = [child.tag for child in query.children()] if query is not None else []
        listed = asked.child("list")
        tell_lid = self.faults.find([FaultKind.NO_LID], session.target) is None
        users: dict[str, Node] = {}
        for user in listed.children("user") if listed is not None else []:
            found = self._user(user, wanted, tell_lid=tell_lid)
            if found is not None:
                # A user who is asked for twice is told once: twice, the engine would begin two sessions with him.
                users.setdefault(str(found.attrs["jid"]), found)
        attrs: dict[str, AttrValue] = {name: asked.attrs[name] for name in _ECHOED if name in asked.attrs}
        results = Node("result", {}, [Node(tag) for tag in wanted])
        return [Node("usync", attrs, [results, Node("list", {}, list(users.values()))])]

    def _user(self, user: Node, wanted: list[str], *, tell_lid: bool) -> Node | None:
        jid, contact = user.jid("jid"), user.child("contact")
        if contact is not None:
            jid = Jid.parse(contact.bytes().decode()) if b"@" in contact.bytes() else None
            if jid is None:
                jid = Jid(contact.bytes().decode().lstrip("+"), S_WHATSAPP_NET)
        phone = self.directory.phone_of(jid) if jid is not None else None
        if jid is None or phone is None:
            return None
        answers: list[Node] = []
        attrs: dict[str, AttrValue] = {"jid": jid}
        for tag in wanted:
            if tag == "devices":
                answers.append(self._devices(phone))
            elif tag == "lid" and tell_lid:
                answers.append(Node("lid", {"val": Jid(lid_of(phone), LID)}))
            elif tag == "contact" and contact is not None:
                attrs = {"jid": Jid(lid_of(phone), LID), "pn_jid": Jid(phone, S_WHATSAPP_NET)}
                answers.append(Node("contact", {"type": "in"}, contact.content))
            elif tag == "status":
                answers.append(Node("status", {}, name_of(phone).encode()))
        return Node("user", attrs, answers)

    def _devices(self, phone: str) -> Node:
        account = self.directory.account(phone)
        numbers = [0, *(account.devices if account is not None else [])]
        listed = [Node("device", {"id": str(number)}) for number in numbers]
        return Node("devices", {}, [Node("device-list", {"hash": f"2:{phone[-4:]}{len(numbers)}"}, listed)])
