"""What contacts, and the accounts' own phones, send: from a request to an encrypted stanza for each linked device."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

from appliance.model import Category, MediaKind
from appliance.staging import messages, stanzas
from appliance.staging.accounts import Account, Directory, digits_of, lid_of, name_of
from appliance.staging.codec import binary_xml, protobuf
from appliance.staging.codec.binary_xml import AttrValue, Node
from appliance.staging.codec.jid import G_US, LID, S_WHATSAPP_NET, STATUS, Jid
from appliance.staging.control_types import JournalKind, Revoke, Send, SendKind, ViewOnce, Where
from appliance.staging.crypto.sender_keys import SenderKey
from appliance.staging.crypto.signal import pad
from appliance.staging.delivery import Delivery, Pending
from appliance.staging.endpoints import Endpoints
from appliance.staging.errors import RequestError
from appliance.staging.journal import Journal
from appliance.staging.media_content import DEFAULT_MIMETYPE, DEFAULT_SIZE, dimensions
from appliance.staging.media_host import MediaHost
from appliance.staging.store import Store

MAX_COUNT: Final = 10_000
"""Messages of one request; a generator is the tool for more."""
MAX_MEDIA: Final = 64 * 1024 * 1024
MAX_SENDER_KEY_USES: Final = 1000
"""A sender key is renewed after this many messages, as phones do from time to time."""
_EDIT_REVOKE: Final = "7"
_EDIT_TEXT: Final = "1"
"""The `edit` attribute of a stanza."""
_MESSAGE_EDIT: Final = 14
"""ProtocolMessage.type, and the field of the new message in it."""
_WORDS: Final = ("demain", "marché", "bonjour", "merci", "photo", "famille", "bientôt", "soleil", "pluie", "gare")


class Record(msgspec.Struct, kw_only=True):
    """A message that exists on the network; enough to quote, revoke and encrypt it again."""

    id: str
    account: str
    author: str
    where: Where
    group: str = ""
    to: str = ""
    kind: SendKind
    message: bytes
    sha256: str
    size: int
    view_once: ViewOnce = ViewOnce.NO
    edit: str = ""
    by_phone_number: bool = False
    damaged: bool = False

    @property
    def own(self) -> bool:
        """Written on the account's own phone."""
        return self.author == self.account

    @property
    def stanza_type(self) -> str:
        return "text" if self.kind is SendKind.TEXT else "media"


class GroupKey(msgspec.Struct, kw_only=True):
    """A sender key of one author in one group, and who has it."""

    key: SenderKey
    known_to: list[str] = []
    uses: int = 0


def reopen(message: bytes) -> protobuf.Message:
    """An encoded message as something that can be put into another."""
    fields = protobuf.decode(message)
    return {number: fields.all(number) for number in fields.numbers()}


def group_jid(group: str, author: str) -> Jid:
    return Jid(group or f"1203634{lid_of(author)[:11]}", G_US)


@dataclass
class Sending:
    store: Store
    journal: Journal
    directory: Directory
    endpoints: Endpoints
    delivery: Delivery
    media: MediaHost
    _group_keys: dict[str, GroupKey] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=random.Random)

    async def send(self, request: Send) -> list[str]:
        """Send as often as the request says; the ids of the messages. Raises RequestError."""
        account = self.directory.require(request.account)
        author = digits_of(request.contact, "contact")
        if not 1 <= request.count <= MAX_COUNT:
            raise RequestError(f"count: write a number between 1 and {MAX_COUNT}")
        if not 0 <= request.size <= MAX_MEDIA:
            raise RequestError(f"size: write a number of bytes up to {MAX_MEDIA}")
        if request.view_once is not ViewOnce.NO and request.kind in (SendKind.TEXT, SendKind.STICKER):
            raise RequestError("kind: only pictures, videos and recordings can be view-once")
        self.directory.meet(author)
        return [(await self._send_one(request, account, author)).id for _ in range(request.count)]

    async def _send_one(self, request: Send, account: Account, author: str) -> Record:
        message, digest, size = await self._content(request, account, author)
        edit = ""
        if request.edit_of:
            self.require(account.phone, request.edit_of)
            key: protobuf.Value = {1: account.lid_jid().__str__(), 2: author == account.phone, 3: request.edit_of}
            message = {12: {1: key, 2: _MESSAGE_EDIT, _MESSAGE_EDIT: message, 15: int(time.time() * 1000)}}
            edit = _EDIT_TEXT
        group = str(group_jid(request.group, author)) if request.where is Where.GROUP else ""
        to = digits_of(request.to, "to") if request.to else ""
        record = Record(
            id=stanzas.message_id(),
            account=account.phone,
            author=author,
            where=request.where,
            group=group,
            to=to,
            kind=request.kind,
            message=protobuf.encode(message),
            sha256=digest,
            size=size,
            view_once=request.view_once,
            edit=edit,
            by_phone_number=request.by_phone_number,
            damaged=request.damaged,
        )
        self.post(record, account, category=_category(record), media=request.kind is not SendKind.TEXT)
        return record

    def revoke(self, request: Revoke) -> str:
        """The author deletes a message for everyone; the id of the message that says so."""
        account = self.directory.require(request.account)
        original = self.require(account.phone, request.message_id)
        chat = original.group or str(STATUS if original.where is Where.STATUS else _chat_jid(original))
        participant = "" if original.where is Where.CHAT else f"{lid_of(original.author)}@{LID}"
        message = messages.revoke(chat, original.id, from_me=original.where is Where.CHAT, participant=participant)
        record = msgspec.structs.replace(
            original,
            id=stanzas.message_id(),
            message=protobuf.encode(message),
            kind=SendKind.TEXT,
            edit=_EDIT_REVOKE,
            view_once=ViewOnce.NO,
            damaged=False,
        )
        deleted = original.where is not Where.STATUS and not original.own and original.view_once is ViewOnce.NO
        self.post(record, account, category=Category.DELETED.value if deleted else "", revokes=original.id)
        return record.id

    def reply(self, account: Account, original: Record, text: str, *, wrapped: bool) -> str:
        """The account's own phone answers a message and quotes it whole, media keys included."""
        quoted = reopen(original.message)
        if not wrapped:
            for wrapper in messages.ViewOnce:
                inner = protobuf.decode(original.message)
                if inner.has(wrapper):
                    quoted = reopen(inner.message(wrapper).bytes(1))
        message = messages.reply(
            text, stanza_id=original.id, participant=f"{lid_of(original.author)}@{LID}", quoted=quoted
        )
        record = Record(
            id=stanzas.message_id(),
            account=account.phone,
            author=account.phone,
            where=original.where,
            group=original.group,
            to=original.author,
            kind=SendKind.TEXT,
            message=protobuf.encode(message),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            size=len(text.encode()),
        )
        to_self = original.own and original.to in ("", account.phone) and original.where is Where.CHAT
        due = original.view_once is not ViewOnce.NO or (to_self and original.kind is not SendKind.TEXT)
        self.post(record, account, category=Category.VIEW_ONCE.value if due else "", quotes=original.id)
        return record.id

    def post(self, record: Record, account: Account, *, category: str, **more: str | int | bool) -> None:
        """Make a message exist: remember it, journal it, and queue it for every linked device."""
        self.store.put("message", f"{record.account}/{record.id}", msgspec.msgpack.encode(record))
        self.journal.add(
            JournalKind.SENT,
            record.account,
            None,
            record.id,
            contact=record.author,
            kind=record.kind.value,
            where=record.where.value,
            category=category,
            sha256=record.sha256,
            size=record.size,
            view_once=record.view_once.value,
            own=record.own,
            devices=len(account.devices),
            **more,
        )
        for number in account.devices:
            self._post_to(record, account, number)

    def find(self, phone: str, message_id: str) -> Record | None:
        kept = self.store.get("message", f"{phone}/{message_id}")
        return msgspec.msgpack.decode(kept, type=Record) if kept is not None else None

    def require(self, phone: str, message_id: str) -> Record:
        record = self.find(phone, message_id)
        if record is None:
            raise RequestError("message_id: nothing with this id was sent to the account")
        return record

    # ---- content

    async def _content(self, request: Send, account: Account, author: str) -> tuple[protobuf.Message, str, int]:
        if request.kind is SendKind.TEXT:
            text = request.text or " ".join(self._chance.choices(_WORDS, k=6)) + f" {self._chance.randrange(10**9)}"
            body = messages.extended_text(text) if request.where is Where.STATUS else messages.text(text)
            if request.quoted:
                original = self.require(account.phone, request.quoted)
                body = messages.reply(
                    text,
                    stanza_id=original.id,
                    participant=f"{lid_of(original.author)}@{LID}",
                    quoted=reopen(original.message),
                )
            return body, hashlib.sha256(text.encode()).hexdigest(), len(text.encode())
        kind = request.kind.media_kind
        mimetype = request.mimetype or DEFAULT_MIMETYPE[kind]
        size = request.size or DEFAULT_SIZE[kind]
        file, path = await self.media.create(account.phone, kind, mimetype, size, request.seed)
        width, height = dimensions(kind, mimetype, size)
        details = messages.MediaDetails(
            mimetype=mimetype,
            direct_path=path,
            timestamp=int(time.time()),
            caption=request.text,
            view_once=request.view_once is not ViewOnce.NO,
            seconds=3 if kind in _PLAYED else 0,
            height=height,
            width=width,
            file_name=f"document-{author[-3:]}.pdf" if kind is MediaKind.DOCUMENT else "",
        )
        message = messages.media(kind, file, details)
        if request.view_once in (ViewOnce.PAYLOAD, ViewOnce.PLACEHOLDER):
            spoken = kind in (MediaKind.VOICE, MediaKind.AUDIO)
            message = messages.view_once(message, messages.ViewOnce.V2_EXTENSION if spoken else messages.ViewOnce.V2)
        elif kind is MediaKind.DOCUMENT and request.text:
            message = messages.document_with_caption(message)
        return message, file.file_sha256.hex(), file.file_length

    # ---- stanzas

    def _post_to(self, record: Record, account: Account, number: int) -> None:
        attrs = self._address(record, account)
        pending = Pending(account=account.phone, device=number, stanza_id=record.id, stanza=b"")
        if record.view_once is ViewOnce.PLACEHOLDER:
            pending.placeholder = True
            content = [Node("unavailable", {"type": "view_once"})]
        else:
            pending.sender = record.author
            pending.message, content = self._encrypted(record, account, number)
        pending.stanza = binary_xml.encode(Node("message", attrs, content))
        self.delivery.post(pending)

    def _encrypted(self, record: Record, account: Account, number: int) -> tuple[bytes, list[Node]]:
        """What to encrypt on a retry, and the `<enc>` elements for one device."""
        attrs: dict[str, AttrValue] = {"v": "2"}
        media = messages.enc_mediatype(record.kind.media_kind)
        if media and not record.edit:
            attrs["mediatype"] = media
        if record.where is Where.CHAT:
            message = record.message
            if record.own:
                message = protobuf.encode(messages.device_sent(str(_chat_jid(record)), reopen(message)))
            enc_type, ciphertext = self.endpoints.encrypt(record.author, account, number, message)
            return message, [Node("enc", attrs | {"type": enc_type.value}, _damage(ciphertext, record))]
        group = record.group or str(STATUS)
        shared = self._group_key(group, record.author)
        distribution = messages.with_sender_key(group, shared.key.distribution())
        device, nodes = str(account.lid_jid(number)), []
        if device not in shared.known_to:
            shared.known_to.append(device)
            enc_type, ciphertext = self.endpoints.encrypt(record.author, account, number, protobuf.encode(distribution))
            nodes.append(Node("enc", {"v": "2", "type": enc_type.value}, ciphertext))
        ciphertext = shared.key.encrypt(pad(record.message))
        shared.uses += 1
        self.store.put("group_key", f"{group}/{record.author}", msgspec.msgpack.encode(shared))
        nodes.append(Node("enc", attrs | {"type": "skmsg"}, _damage(ciphertext, record)))
        again = protobuf.encode(messages.with_sender_key(group, shared.key.distribution())) + record.message
        return again, nodes

    def _group_key(self, group: str, author: str) -> GroupKey:
        name = f"{group}/{author}"
        shared = self._group_keys.get(name)
        if shared is None:
            kept = self.store.get("group_key", name)
            shared = msgspec.msgpack.decode(kept, type=GroupKey) if kept else GroupKey(key=SenderKey.generate())
        if shared.uses >= MAX_SENDER_KEY_USES:
            shared = GroupKey(key=SenderKey.generate())
        self._group_keys[name] = shared
        return shared

    def _address(self, record: Record, account: Account) -> dict[str, AttrValue]:
        author_lid, author_pn = Jid(lid_of(record.author), LID), Jid(record.author, S_WHATSAPP_NET)
        name = account.name if record.own else name_of(record.author)
        attrs: dict[str, AttrValue] = {
            "id": record.id,
            "t": stanzas.now(),
            "type": record.stanza_type,
            "notify": name,
            "edit": record.edit,
        }
        if record.where is not Where.CHAT:
            attrs["from"] = Jid.parse(record.group) if record.group else STATUS
            if record.by_phone_number:
                return attrs | {"participant": author_pn, "participant_lid": author_lid, "addressing_mode": "pn"}
            return attrs | {"participant": author_lid, "participant_pn": author_pn, "addressing_mode": "lid"}
        if not record.own:
            if record.by_phone_number:
                return attrs | {"from": author_pn, "sender_lid": author_lid}
            return attrs | {"from": author_lid, "sender_pn": author_pn}
        chat = record.to or record.account
        lid, pn = Jid(lid_of(chat), LID), Jid(chat, S_WHATSAPP_NET)
        if record.by_phone_number:
            return attrs | {"from": author_pn, "recipient": pn, "peer_recipient_lid": lid}
        return attrs | {"from": author_lid, "recipient": lid, "peer_recipient_pn": pn}


_PLAYED: Final = (MediaKind.VIDEO, MediaKind.VIDEO_NOTE, MediaKind.AUDIO, MediaKind.VOICE)
"""Kinds that last."""


def _chat_jid(record: Record) -> Jid:
    """The chat as the author sees it: for the own phone whom it wrote to, for a contact the account."""
    return Jid(lid_of((record.to or record.account) if record.own else record.account), LID)


def _category(record: Record) -> str:
    """Where a perfect appliance stores a message as soon as it arrives; empty: nowhere."""
    if record.own or record.edit:
        return ""
    if record.where is Where.STATUS:
        return Category.STATUS.value
    if record.view_once in (ViewOnce.PAYLOAD, ViewOnce.FLAG):
        return Category.VIEW_ONCE.value
    return ""


def _damage(ciphertext: bytes, record: Record) -> bytes:
    """Break the MAC or signature at the end, so that the device cannot read it."""
    return ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]) if record.damaged else ciphertext
