"""Messages from linked devices: checked as strictly as service and recipients would, then journalled."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from appliance.staging import messages, stanzas
from appliance.staging.accounts import Directory
from appliance.staging.codec import binary_xml
from appliance.staging.codec.binary_xml import AttrValue, Node
from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.jid import LID, S_WHATSAPP_NET, Jid
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.crypto import media as media_crypto
from appliance.staging.crypto.errors import CryptoError
from appliance.staging.crypto.keys import DJB_TYPE
from appliance.staging.crypto.linking import check_device_identity
from appliance.staging.crypto.sender_keys import ReceivedSenderKeys
from appliance.staging.crypto.signal import PreKeyBundle, unpad
from appliance.staging.delivery import Delivery, Pending
from appliance.staging.endpoints import Endpoints
from appliance.staging.faults import Faults
from appliance.staging.journal import Journal
from appliance.staging.media_host import MediaHost
from appliance.staging.session import Session
from appliance.staging.store import Store

_log: Final = structlog.get_logger(__name__)


class BadMessageError(Exception):
    """A message that the service or a recipient would not accept; the text says why."""


@dataclass
class Arrivals:
    store: Store
    journal: Journal
    faults: Faults
    directory: Directory
    endpoints: Endpoints
    delivery: Delivery
    media: MediaHost
    _sender_keys: ReceivedSenderKeys = field(default_factory=ReceivedSenderKeys)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def load(self) -> None:
        kept = self.store.get("received_sender_keys", "all")
        if kept is not None:
            self._sender_keys = msgspec.msgpack.decode(kept, type=ReceivedSenderKeys)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def handle(self, session: Session, node: Node) -> None:
        phone, number, stanza_id = session.account.phone, session.number, node.attr("id") or ""
        if self.faults.find([FaultKind.NO_ACK], session.target):
            return
        if fault := self.faults.find([FaultKind.ACK_ERROR], session.target):
            session.send(stanzas.ack(node, error=str(fault.spec.code or 463)))
            return
        try:
            content = self._read(session, node)
        except (BadMessageError, CryptoError, DecodeError) as error:
            self.journal.add(JournalKind.BAD_MESSAGE, phone, number, stanza_id, why=str(error))
            session.send(stanzas.ack(node))
            return
        session.send(stanzas.ack(node))
        to = node.jid("to")
        if content is None or to is None:
            return
        task = asyncio.get_running_loop().create_task(self._journal(session, node, to, content))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if node.attr("category") != "peer":
            self._receipt(session, node, to)

    # ---- reading

    def _read(self, session: Session, node: Node) -> messages.Content | None:
        """What the message says. Raises BadMessageError, CryptoError, DecodeError."""
        to = node.jid("to")
        if to is None:
            raise BadMessageError("no address in `to`")
        self._check_identity(session, node)
        copies = node.child("participants")
        named = copies.children("to") if copies is not None else []
        if not named:  # to one device: a peer message, or the answer to a retry
            named = [Node("to", {"jid": to}, node.children("enc"))] if to.server in (LID, S_WHATSAPP_NET) else []
        found: messages.Content | None = None
        seen: set[str] = set()
        for copy in named:
            jid = copy.jid("jid")
            if jid is None:
                raise BadMessageError("a copy without an address")
            content = self._read_copy(session, node, copy, jid, relay=str(jid) not in seen)
            seen.add(str(jid))
            if content is not None and (found is None or content.destination is None):
                found = content
        shared = next((enc for enc in node.children("enc") if enc.attr("type") == "skmsg"), None)
        if shared is not None:
            plaintext = self._sender_keys.decrypt(str(to), self._sender(session), shared.bytes())
            self._save_sender_keys()
            found = messages.read(unpad(plaintext))
            self._relay_group(session, node, to, shared)
        if node.attr("category") != "peer" and copies is not None and shared is None:
            self._check_devices(session, to, seen)
        return found

    def _sender(self, session: Session) -> str:
        return str(session.account.lid_jid(session.number))

    def _read_copy(self, session: Session, node: Node, copy: Node, jid: Jid, *, relay: bool) -> messages.Content | None:
        """Decrypt what is for a phone; pass on what is for another linked device."""
        enc = copy.child("enc")
        phone = self.directory.phone_of(jid)
        if enc is None or phone is None:
            raise BadMessageError("a copy for nobody")
        if jid.device:
            if relay:
                self._relay(session, node, enc, phone, jid.device)
            return None
        address = session.account.lid_jid(session.number)
        plaintext = self.endpoints.decrypt(phone, address, enc.attr("type") or "", enc.bytes())
        content = messages.read(plaintext)
        if content.sender_key is not None:
            self._sender_keys.accept(content.sender_key[0], self._sender(session), content.sender_key[1])
            self._save_sender_keys()
        return content

    def _save_sender_keys(self) -> None:
        self.store.put("received_sender_keys", "all", msgspec.msgpack.encode(self._sender_keys))

    def _check_identity(self, session: Session, node: Node) -> None:
        """Every message that begins a session carries the proof that the account has linked this device."""
        copies = node.child("participants")
        encs = node.children("enc") + [
            e for to in (copies.children("to") if copies else []) for e in to.children("enc")
        ]
        if not any(enc.attr("type") == "pkmsg" for enc in encs):
            return
        identity = node.child("device-identity")
        if identity is None:
            raise BadMessageError("pkmsg without a device identity")
        device = session.account.devices[session.number]
        account_key = self.endpoints.identity(session.account.phone).public
        check_device_identity(identity.bytes(), account_key, device.identity_public)

    def _check_devices(self, session: Session, to: Jid, named: set[str]) -> None:
        """The copies must be for exactly the devices that a look-up tells."""
        expected: set[str] = set()
        for phone in {session.account.phone, self.directory.phone_of(to) or ""}:
            account = self.directory.account(phone)
            lid = Jid(self.directory.meet(phone), LID) if phone else to
            expected |= {str(Jid(lid.user, LID, number)) for number in [0, *(account.devices if account else [])]}
        expected.discard(self._sender(session))
        if named != expected:
            raise BadMessageError(f"copies for {len(named)} devices, {len(expected)} expected")

    # ---- passing on

    def _relay(self, session: Session, node: Node, enc: Node, phone: str, number: int) -> None:
        """Another linked device of the account, or of a recipient who is an account too, gets its copy."""
        account = self.directory.account(phone)
        if account is None or number not in account.devices:
            raise BadMessageError("a copy for a device that is not linked")
        to = node.jid("to")
        attrs: dict[str, AttrValue] = {
            "from": session.account.lid_jid(session.number),
            "id": node.attr("id") or "",
            "t": stanzas.now(),
            "type": node.attr("type") or "text",
            "notify": session.account.name,
        }
        if phone == session.account.phone and to is not None:
            attrs["recipient"] = to
            if pn := node.jid("peer_recipient_pn"):
                attrs["peer_recipient_pn"] = pn
        else:
            attrs["sender_pn"] = session.account.pn_jid()
        identity = node.child("device-identity")
        content = [Node("enc", dict(enc.attrs), enc.bytes()), *([identity] if identity is not None else [])]
        self._post(session, Node("message", attrs, content), phone, number)

    def _relay_group(self, session: Session, node: Node, group: Jid, shared: Node) -> None:
        """The account's other devices see what one of them writes into a group, if they have its sender key."""
        copies = node.child("participants")
        for copy in copies.children("to") if copies is not None else []:
            jid, enc = copy.jid("jid"), copy.child("enc")
            if jid is None or enc is None or not jid.device:
                continue
            phone = self.directory.phone_of(jid)
            account = self.directory.account(phone or "")
            if phone is None or account is None or jid.device not in account.devices:
                continue
            attrs: dict[str, AttrValue] = {
                "from": group,
                "participant": session.account.lid_jid(session.number),
                "participant_pn": session.account.pn_jid(session.number),
                "addressing_mode": "lid",
                "id": node.attr("id") or "",
                "t": stanzas.now(),
                "type": node.attr("type") or "text",
            }
            identity = node.child("device-identity")
            content = [enc, shared, *([identity] if identity is not None else [])]
            self._post(session, Node("message", attrs, list(content)), phone, jid.device)

    def _post(self, session: Session, stanza: Node, phone: str, number: int) -> None:
        self.delivery.post(
            Pending(
                account=phone,
                device=number,
                stanza_id=stanza.attr("id") or "",
                stanza=binary_xml.encode(stanza),
                origin=(session.account.phone, session.number),
            )
        )

    # ---- afterwards

    async def _journal(self, session: Session, node: Node, to: Jid, content: messages.Content) -> None:
        """Say in the journal what has arrived; of a file, fetch and verify it as the recipient would."""
        copies = node.child("participants")
        data: dict[str, str | int | float | bool] = {
            "to": self.directory.phone_of(to) or str(to),
            "kind": "text" if content.attachment is None else content.attachment.kind.value,
            "text_sha256": hashlib.sha256(content.text.encode()).hexdigest() if content.text else "",
            "copies": len(copies.children("to")) if copies is not None else 1,
            "peer": node.attr("category") == "peer",
            "edit": node.attr("edit") or "",
        }
        if content.protocol is not None:
            data |= {"kind": "protocol", "protocol": content.protocol.int(2)}
        problem = ""
        if content.attachment is not None:
            attachment = content.attachment
            blob = await self.media.uploaded(attachment.direct_path)
            if blob is None or hashlib.sha256(blob).digest() != attachment.file_enc_sha256:
                problem = "the file on the media host is not what the message names"
            else:
                try:
                    plain = media_crypto.decrypt(blob, attachment.media_type, attachment.media_key)
                except CryptoError as error:
                    problem, plain = str(error), b""
                data |= {"sha256": hashlib.sha256(plain).hexdigest(), "size": len(plain)}
                if not problem and data["sha256"] != attachment.file_sha256.hex():
                    problem = "the file is not the one that was hashed"
        phone, stanza_id = session.account.phone, node.attr("id") or ""
        if problem:
            self.journal.add(JournalKind.BAD_MESSAGE, phone, session.number, stanza_id, why=problem)
        self.journal.add(JournalKind.ARRIVED, phone, session.number, stanza_id, **data)
        self.store.flush()

    def _receipt(self, session: Session, node: Node, to: Jid) -> None:
        """The recipient's phone tells that the message is there, or that it could not read it."""
        recipient = self.directory.phone_of(to)
        if recipient is None or recipient == session.account.phone:
            return
        attrs: dict[str, AttrValue] = {"from": Jid(self.directory.meet(recipient), LID), "id": node.attr("id") or ""}
        attrs["t"] = stanzas.now()
        if self.faults.find([FaultKind.ASK_RETRY], session.target):
            bundle = self.endpoints.bundle(recipient, one_time=True)
            self.endpoints.of(recipient).forget(session.account.lid_jid(session.number))
            retry = {"count": "1", "id": node.attr("id") or "", "t": stanzas.now(), "v": "1"}
            content = [
                Node("retry", dict(retry)),
                Node("registration", {}, bundle.registration_id.to_bytes(4)),
                _retry_keys(bundle),
            ]
            session.send(Node("receipt", attrs | {"type": "retry"}, content))
            return
        session.send(Node("receipt", attrs))


def _retry_keys(bundle: PreKeyBundle) -> Node:
    """The keys for a session made anew, as a `<receipt type=retry>` carries them."""
    signed = [
        Node("id", {}, bundle.signed_pre_key_id.to_bytes(3)),
        Node("value", {}, bundle.signed_pre_key),
        Node("signature", {}, bundle.signed_pre_key_signature),
    ]
    one_time = [Node("id", {}, (bundle.pre_key_id or 0).to_bytes(3)), Node("value", {}, bundle.pre_key or b"")]
    content = [Node("type", {}, DJB_TYPE), Node("identity", {}, bundle.identity)]
    return Node("keys", {}, [*content, Node("key", {}, one_time), Node("skey", {}, signed)])
