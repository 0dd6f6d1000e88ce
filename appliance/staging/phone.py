"""The accounts' own phones: they type codes, scan, share keys, answer with a trigger, rename and unlink."""

from __future__ import annotations

import asyncio
import random
import time
import zlib
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from appliance.staging import messages, stanzas
from appliance.staging.accounts import Account, Directory, lid_of, name_of
from appliance.staging.codec import protobuf
from appliance.staging.codec.binary_xml import Node
from appliance.staging.codec.jid import LID, S_WHATSAPP_NET, SERVER
from appliance.staging.control_types import (
    JournalKind,
    PushName,
    Reply,
    ScanQr,
    TypeCode,
    TypeCodeResult,
    TypingPlan,
    Unlink,
)
from appliance.staging.crypto.app_state import CRITICAL_BLOCK, AppStateKey, Collection
from appliance.staging.crypto.errors import CryptoError, WrongCodeError
from appliance.staging.crypto.linking import CODE_ALPHABET, QrCode, normalise_code
from appliance.staging.crypto.media import MediaType
from appliance.staging.delivery import Delivery, Pending
from appliance.staging.endpoints import Endpoints
from appliance.staging.errors import RequestError
from appliance.staging.journal import Journal
from appliance.staging.media_host import MediaHost
from appliance.staging.registration import Desk
from appliance.staging.sending import Sending
from appliance.staging.session import Session
from appliance.staging.store import Store

_log: Final = structlog.get_logger(__name__)
SECOND_TRY_S: Final = 3.0
"""A user who has mistyped needs a moment for the second try."""
_HISTORY_BOOTSTRAP: Final = 0
"""HistorySync.syncType INITIAL_BOOTSTRAP."""


class AppState(msgspec.Struct, kw_only=True):
    """What an account's devices share."""

    key: AppStateKey
    critical: Collection


@dataclass
class Phone:
    """The phones of all accounts."""

    store: Store
    journal: Journal
    directory: Directory
    desk: Desk
    endpoints: Endpoints
    delivery: Delivery
    media: MediaHost
    sending: Sending
    sessions: dict[tuple[str, int], Session]
    _states: dict[str, AppState] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    # ---- linking

    async def type_code(self, request: TypeCode) -> TypeCodeResult:
        """The user has read a code off the appliance's screen. Raises RequestError if it cannot be a code."""
        phone = request.phone.strip().lstrip("+")
        account = self.directory.account(phone)
        if account is None:
            return TypeCodeResult(outcome="no_request")
        try:
            code = normalise_code(request.code)
        except WrongCodeError as error:
            raise RequestError(str(error)) from None
        if request.now:
            return TypeCodeResult(outcome=await self._type(phone, code))
        if account.plan is TypingPlan.NEVER:
            return TypeCodeResult(outcome="never")
        chance = random.Random(account.seed)  # noqa: S311 - repeatable on purpose
        delay = chance.uniform(account.delay_min_s, account.delay_max_s)
        if account.plan is TypingPlan.TYPE and delay == 0:
            return TypeCodeResult(outcome=await self._type(phone, code))
        task = asyncio.get_running_loop().create_task(self._type_as_planned(phone, code, account.plan, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return TypeCodeResult(outcome="planned", delay_s=delay)

    async def _type_as_planned(self, phone: str, code: str, plan: TypingPlan, delay: float) -> None:
        await asyncio.sleep(delay)
        if plan in (TypingPlan.WRONG, TypingPlan.WRONG_THEN_RIGHT):
            await self._type(phone, _mistyped(code))
        if plan is TypingPlan.WRONG_THEN_RIGHT:
            await asyncio.sleep(SECOND_TRY_S)
        if plan is not TypingPlan.WRONG:
            await self._type(phone, code)
        if plan is TypingPlan.TWICE:
            await self._type(phone, code)

    async def _type(self, phone: str, code: str) -> str:
        """Type a code now: `accepted` once the device was linked, otherwise what the phone's screen says."""
        registration = self.desk.by_phone(phone)
        if registration is None:
            self.journal.add(JournalKind.PAIR_TYPED, phone, outcome="no_request")
            return "no_request"
        try:
            return await registration.type_code(code)
        except CryptoError as error:
            self.journal.add(JournalKind.BAD_MESSAGE, phone, why=f"companion_hello: {error}")
            return "no_request"

    def scan_qr(self, request: ScanQr) -> None:
        """The user scans a QR code. Raises RequestError if it is none, or if nobody shows it any more."""
        account = self.directory.ensure(request.phone.strip().lstrip("+"))
        try:
            code = QrCode.parse(request.text)
        except ValueError as error:
            raise RequestError(str(error)) from None
        registration = self.desk.by_qr(code)
        if registration is None:
            raise RequestError("text: this QR code is not shown (any more); scan the one on the screen now")
        registration.scan(account, code)

    # ---- a linked device

    def on_first_login(self, session: Session) -> None:
        """Share what a new device needs: the app state key, and with it the push name; history if there is any."""
        account, number = session.account, session.number
        share = self._state(account).key.share([0, *account.devices])
        self._send_peer(account, number, "key_share", messages.key_share(share))
        self.tell_devices(account)
        if account.history_texts:
            task = asyncio.get_running_loop().create_task(self._push_history(account, number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def app_state(self, account: Account, name: str, version: int) -> tuple[int, list[bytes]]:
        """The newest version of a collection and the patches since another one."""
        if name != CRITICAL_BLOCK:
            return 0, []
        critical = self._state(account).critical
        return critical.version, critical.since(version)

    def set_name(self, request: PushName) -> None:
        """The user changes the push name; every linked device is told."""
        account = self.directory.require(request.account)
        if not request.name:
            raise RequestError("name: empty; write the new name")
        state = self._state(account)
        account.name = request.name
        self.directory.save(account)
        state.critical.set_push_name(request.name, state.key, int(time.time() * 1000))
        self._save_state(account, state)
        for number in account.devices:
            collection = Node("collection", {"name": CRITICAL_BLOCK, "version": str(state.critical.version)})
            self._notify(account, number, "server_sync", [collection])

    def tell_devices(self, account: Account) -> None:
        """Tell every linked device which devices there are now."""
        numbers = [0, *account.devices]
        listed = [Node("device", {"jid": account.pn_jid(number)}) for number in numbers]
        for number in account.devices:
            # A hash that matches nothing makes the engine drop its cache and ask.
            devices = Node("devices", {"dhash": f"2:{stanzas.message_id()[:8]}"}, list(listed))
            self._notify(account, number, "account_sync", [devices], own=True)

    def reply(self, request: Reply) -> str:
        """Answer a message on the phone, quoting it: how a user asks the appliance for a view-once."""
        account = self.directory.require(request.account)
        original = self.sending.require(account.phone, request.message_id)
        return self.sending.reply(account, original, request.text, wrapped=request.wrapped)

    def unlink(self, request: Unlink) -> None:
        """The user removes linked devices on the phone."""
        account = self.directory.require(request.account)
        if request.device is not None and request.device not in account.devices:
            raise RequestError("device: not linked to this account; see the list of accounts")
        for number in [request.device] if request.device is not None else list(account.devices):
            self.remove_device(account, number, by="phone")

    def remove_device(self, account: Account, number: int, by: str) -> None:
        """End a device's link; `by`: `phone` or `device`."""
        self.directory.unlink(account, number)
        self.delivery.drop(account.phone, number)
        self.endpoints.forget_device(account.lid_jid(number))
        self.journal.add(JournalKind.UNLINKED, account.phone, number, by=by)
        session = self.sessions.get((account.phone, number))
        if session is not None and by == "phone":
            session.stream_error(stanzas.LOGGED_OUT, "device_removed", "unlinked on the phone")
        self.tell_devices(account)

    # ---- inside

    def _state(self, account: Account) -> AppState:
        state = self._states.get(account.phone)
        if state is None:
            kept = self.store.get("app_state", account.phone)
            if kept is not None:
                state = msgspec.msgpack.decode(kept, type=AppState)
            else:
                state = AppState(key=AppStateKey.generate(int(time.time())), critical=Collection(CRITICAL_BLOCK))
                state.critical.set_push_name(account.name, state.key, int(time.time() * 1000))
                self._save_state(account, state)
            self._states[account.phone] = state
        return state

    def _save_state(self, account: Account, state: AppState) -> None:
        self.store.put("app_state", account.phone, msgspec.msgpack.encode(state))

    def _notify(self, account: Account, number: int, kind: str, content: list[Node], *, own: bool = False) -> None:
        identifier = stanzas.message_id()
        attrs: stanzas.Attrs = {
            "from": account.pn_jid() if own else SERVER,
            "type": kind,
            "id": identifier,
            "t": stanzas.now(),
        }
        pending = Pending(
            account=account.phone, device=number, stanza_id=identifier, stanza=b"", placeholder=True, about=kind
        )
        self.delivery.post_node(Node("notification", attrs, content), pending)

    def _send_peer(self, account: Account, number: int, about: str, message: protobuf.Message) -> None:
        """A message of the phone to one of its devices about their common affairs."""
        body = protobuf.encode(message)
        enc_type, ciphertext = self.endpoints.encrypt(account.phone, account, number, body)
        identifier = stanzas.message_id()
        attrs: stanzas.Attrs = {
            "from": account.lid_jid(),
            "category": "peer",
            "type": "text",
            "id": identifier,
            "t": stanzas.now(),
        }
        pending = Pending(
            account=account.phone,
            device=number,
            stanza_id=identifier,
            stanza=b"",
            sender=account.phone,
            message=body,
            about=about,
        )
        enc = Node("enc", {"v": "2", "type": enc_type.value}, ciphertext)
        self.delivery.post_node(Node("message", attrs, [enc]), pending)

    async def _push_history(self, account: Account, number: int) -> None:
        """Push old messages, as a phone does after linking."""
        blob = await asyncio.to_thread(_history_blob, account)
        file, path = await self.media.keep(account.phone, blob, MediaType.HISTORY)
        notification: protobuf.Value = {
            1: file.file_sha256,
            2: file.file_length,
            3: file.media_key,
            4: file.file_enc_sha256,
            5: path,
            6: _HISTORY_BOOTSTRAP,
            7: 1,
            9: 100,
        }
        message = messages.protocol(messages.ProtocolType.HISTORY_SYNC_NOTIFICATION, {6: notification})
        if number in account.devices:
            self._send_peer(account, number, "history", message)


def _mistyped(code: str) -> str:
    """Another code: the last character replaced by its neighbour in the alphabet."""
    following = CODE_ALPHABET[(CODE_ALPHABET.index(code[-1]) + 1) % len(CODE_ALPHABET)]
    return code[:-1] + following


def _history_blob(account: Account) -> bytes:
    """A HistorySync of ten chats with the account's number of old texts."""
    chats: list[protobuf.Value] = []
    start = int(time.time()) - account.history_texts
    for chat in range(10):
        contact = str(int(account.phone) // 10 * 10 + chat + 1)
        jid = f"{lid_of(contact)}@{LID}"
        old: list[protobuf.Value] = [
            {1: {1: {1: {1: jid, 2: False, 3: f"3AOLD{chat}X{number}"}, 2: messages.text(f"vieux {number}"), 3: start}}}
            for number in range(chat, account.history_texts, 10)
        ]
        chats.append({1: jid, 2: old, 13: name_of(contact)})
    own: protobuf.Value = {1: f"{account.phone}@{S_WHATSAPP_NET}", 2: account.name}
    return zlib.compress(protobuf.encode({1: _HISTORY_BOOTSTRAP, 2: chats, 5: 1, 6: 100, 7: [own]}), 1)
