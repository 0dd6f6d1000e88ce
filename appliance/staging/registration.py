"""A connection that is not linked yet, and the desk where the phones find it: linking by code and by QR.

The server and the phone are one here. What the phone does when, is decided in phone.py.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from appliance.model import PairMethod
from appliance.staging import stanzas
from appliance.staging.accounts import Account, Device, Directory, SignedPrekey, new_device
from appliance.staging.chat import ChatConnection
from appliance.staging.codec import protobuf
from appliance.staging.codec.binary_xml import Node
from appliance.staging.codec.errors import DecodeError
from appliance.staging.codec.jid import SERVER
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.crypto.errors import BadSignatureError, CryptoError, WrongCodeError
from appliance.staging.crypto.linking import (
    CodeLink,
    QrCode,
    check_device_identity,
    seal_device_identity,
    sign_device_identity,
)
from appliance.staging.endpoints import Endpoints
from appliance.staging.faults import Faults, Target
from appliance.staging.journal import Journal

_log: Final = structlog.get_logger(__name__)
REFERENCES: Final = 6
"""As many as the real service gives; the engine lives on them 60 s and then 20 s each."""
FIRST_REFERENCE_S: Final = 60.0
REFERENCE_S: Final = 20.0
RESTART_REQUIRED: Final = 515
"""Stream error after linking: come again with the new credentials."""
OUTCOME_TIMEOUT_S: Final = 30.0
"""How long a phone waits for the device after a code was typed."""
_DISPLAY: Final = re.compile(
    r"(Chrome|Edge|Firefox|IE|Opera|Safari|Brave|Vivaldi|Chromium) \((Linux|Mac OS|Windows|Ubuntu|Android|macOS)\)"
)
"""Names of a companion that the service accepts; others are refused with 400."""
_REASONS: Final = {400: "bad-request", 429: "rate-overlimit"}


def life_of(references: int) -> float:
    """Seconds until the references of a registration, and any code with them, are used up."""
    if references >= REFERENCES:
        return FIRST_REFERENCE_S + (references - 1) * REFERENCE_S
    return references * REFERENCE_S


@dataclass
class DevicePairingData:
    """Field 19 of a ClientPayload: the keys of a device that wants to be linked."""

    registration_id: int
    identity: bytes
    signed_prekey: SignedPrekey

    @classmethod
    def read(cls, fields: protobuf.Fields) -> DevicePairingData:
        signed = SignedPrekey(int.from_bytes(fields.bytes(4)), fields.bytes(5), fields.bytes(6))
        return cls(int.from_bytes(fields.bytes(1)), fields.bytes(3), signed)


@dataclass
class Desk:
    """Every registration that is open, and what the parts of linking need."""

    directory: Directory
    endpoints: Endpoints
    faults: Faults
    journal: Journal
    registrations: list[Registration] = field(default_factory=list)

    def welcome(self, connection: ChatConnection, noise_public: bytes, keys: DevicePairingData) -> Registration:
        registration = Registration(self, connection, noise_public, keys)
        self.registrations.append(registration)
        registration.begin()
        return registration

    def by_phone(self, phone: str) -> Registration | None:
        """The newest registration that asked this phone for a code."""
        return next((r for r in reversed(self.registrations) if r.phone == phone and r.code_alive), None)

    def by_qr(self, code: QrCode) -> Registration | None:
        """The registration that shows this QR code."""
        return next((r for r in self.registrations if r.shows(code)), None)


class Registration:
    """One unlinked connection, from its first reference to the linked device."""

    def __init__(self, desk: Desk, connection: ChatConnection, noise_public: bytes, keys: DevicePairingData) -> None:
        self._desk = desk
        self._connection = connection
        self._noise_public = noise_public
        self._keys = keys
        self._references: list[str] = []
        self._dead_at = 0.0
        self._link: CodeLink | None = None
        self._code_reference = ""
        self._wrapped = b""
        self._typed = False
        self._outcome: asyncio.Future[str] | None = None
        self._offer: tuple[Account, Device, PairMethod] | None = None
        self._stanzas = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.phone: str | None = None
        """Whose code it asked for."""

    @property
    def _target(self) -> Target:
        return Target(self._connection.number, self.phone)

    @property
    def code_alive(self) -> bool:
        return bool(self._wrapped) and self._offer is None and time.monotonic() < self._dead_at

    def shows(self, code: QrCode) -> bool:
        return (
            code.ref in self._references
            and code.noise_public == self._noise_public
            and code.identity == self._keys.identity
            and self._offer is None
        )

    def begin(self) -> None:
        fault = self._desk.faults.find([FaultKind.PAIR_REFS], self._target)
        many = max(fault.spec.code, 1) if fault else REFERENCES
        self._references = [f"2@{secrets.token_urlsafe(96)}" for _ in range(many)]
        self._dead_at = time.monotonic() + life_of(many)
        refs = [Node("ref", {}, reference.encode()) for reference in self._references]
        self._desk.journal.add(JournalKind.PAIR_OPENED, connection=self._connection.number, references=many)
        self._connection.send(self._iq("md", Node("pair-device", {}, refs)))

    def _iq(self, xmlns: str, child: Node) -> Node:
        attrs: stanzas.Attrs = {
            "from": SERVER,
            "type": "set",
            "id": self._next_id(),
            "xmlns": xmlns,
            "t": stanzas.now(),
        }
        return Node("iq", attrs, [child])

    def _next_id(self) -> str:
        self._stanzas += 1
        return f"s-{self._stanzas}"

    # ---- what the device says

    def on_stanza(self, node: Node) -> None:
        if node.tag != "iq":
            return  # acknowledgements, and the session id that clients announce
        request = node.child("link_code_companion_reg")
        signed = node.child("pair-device-sign")
        if signed is not None:
            self._signed(signed)
        elif request is not None and request.attr("stage") == "companion_hello":
            self._companion_hello(node, request)
        elif request is not None and request.attr("stage") == "companion_finish":
            self._start(self._companion_finish(node, request))
        elif node.attr("type") in ("get", "set"):
            if node.attr("xmlns") != "w:p":
                self._desk.journal.add(JournalKind.UNKNOWN_REQUEST, what=f"{node.attr('xmlns')} before linking")
            self._connection.send(stanzas.result(node))

    def on_closed(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._conclude("lost")
        self._desk.registrations.remove(self)
        self._desk.journal.add(
            JournalKind.PAIR_CLOSED,
            self.phone or "",
            connection=self._connection.number,
            typed=self._typed,
            by=self._connection.ended_by or self._connection.tunnel.ended_by or "client",
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _companion_hello(self, node: Node, request: Node) -> None:
        jid = request.jid("jid")
        display = request.child("companion_platform_display")
        wrapped = request.child("link_code_pairing_wrapped_companion_ephemeral_pub")
        if jid is None or wrapped is None or not jid.user:
            self._connection.send(stanzas.error(node, 400, _REASONS[400]))
            return
        self.phone = jid.user
        journal, faults = self._desk.journal, self._desk.faults
        if faults.find([FaultKind.PAIR_NO_ANSWER], self._target):
            return
        fault = faults.find([FaultKind.PAIR_REFUSED], self._target)
        code = fault.spec.code or 429 if fault else 0
        if not code and (display is None or not _DISPLAY.fullmatch(display.bytes().decode(errors="replace"))):
            code = 400
        if code:
            journal.add(JournalKind.PAIR_REFUSED, self.phone, connection=self._connection.number, code=code)
            self._connection.send(stanzas.error(node, code, _REASONS.get(code, "not-acceptable")))
            return
        self._desk.directory.ensure(self.phone)
        self._wrapped = wrapped.bytes()
        self._code_reference = secrets.token_urlsafe(30)
        journal.add(
            JournalKind.PAIR_REQUESTED,
            self.phone,
            connection=self._connection.number,
            method=PairMethod.CODE.value,
            alive_s=round(self._dead_at - time.monotonic(), 1),
        )
        reference = Node("link_code_pairing_ref", {}, self._code_reference.encode())
        answer = Node("link_code_companion_reg", {"stage": "companion_hello"}, [reference])
        self._connection.send(stanzas.result(node, answer))

    # ---- what the phone does

    async def type_code(self, code: str) -> str:
        """Somebody types a code on the phone; what its screen says: `accepted`, `wrong_code`, `silent` or `lost`.

        Raises CryptoError if the device has asked in a way that cannot be answered.
        """
        identity = self._desk.endpoints.identity(self.phone or "")
        # Two key derivations of 25 ms each: sixty phones that type at once must not stop the network.
        link = await asyncio.to_thread(CodeLink, code, self._wrapped, identity)
        self._typed = True
        self._desk.journal.add(JournalKind.PAIR_TYPED, self.phone or "", connection=self._connection.number)
        if self._desk.faults.find([FaultKind.PAIR_SILENT], self._target):
            return "silent"
        self._link = link
        self._outcome = asyncio.get_running_loop().create_future()
        content = [
            Node("link_code_pairing_wrapped_primary_ephemeral_pub", {}, link.wrapped_ephemeral),
            Node("primary_identity_pub", {}, identity.public),
            Node("link_code_pairing_ref", {}, self._code_reference.encode()),
        ]
        attrs: stanzas.Attrs = {
            "from": SERVER,
            "type": "link_code_companion_reg",
            "id": self._next_id(),
            "t": stanzas.now(),
        }
        child = Node("link_code_companion_reg", {"stage": "primary_hello"}, list(content))
        self._connection.send(Node("notification", attrs, [child]))
        done, _ = await asyncio.wait([self._outcome], timeout=OUTCOME_TIMEOUT_S)
        return next(iter(done)).result() if done else "lost"

    def _conclude(self, outcome: str) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result(outcome)

    async def _companion_finish(self, node: Node, request: Node) -> None:
        self._connection.send(stanzas.result(node))
        bundle = request.child("link_code_pairing_wrapped_key_bundle")
        identity = request.child("companion_identity_public")
        if self._link is None or bundle is None or identity is None or self.phone is None:
            return
        try:
            secret = self._link.finish(bundle.bytes(), identity.bytes())
        except WrongCodeError:
            self._desk.journal.add(JournalKind.PAIR_WRONG, self.phone, connection=self._connection.number)
            self._conclude("wrong_code")
            return
        except CryptoError as error:
            self._desk.journal.add(JournalKind.BAD_MESSAGE, self.phone, why=f"companion_finish: {error}")
            return
        self.offer(self._desk.directory.ensure(self.phone), secret, PairMethod.CODE)

    def scan(self, account: Account, code: QrCode) -> None:
        """The phone has scanned the QR code."""
        self.phone = account.phone
        self._typed = True
        self._desk.journal.add(JournalKind.PAIR_SCANNED, account.phone, connection=self._connection.number)
        if not self._desk.faults.find([FaultKind.PAIR_SILENT], self._target):
            self.offer(account, code.adv_secret, PairMethod.QR)

    def offer(self, account: Account, adv_secret: bytes, method: PairMethod) -> None:
        """Hand over the identity that the phone has signed; the device answers with its own signature."""
        device = new_device(
            account, self._noise_public, self._keys.identity, self._keys.registration_id, self._keys.signed_prekey
        )
        signed = sign_device_identity(
            self._desk.endpoints.identity(account.phone),
            device.identity_public,
            raw_id=secrets.randbits(31),
            timestamp=int(time.time()),
            key_index=device.number,
        )
        device.details = protobuf.decode(signed).bytes(1)
        account.last_device = device.number
        self._desk.directory.save(account)
        self._offer = (account, device, method)
        if self._desk.faults.find([FaultKind.PAIR_BAD_HMAC], self._target):
            adv_secret = secrets.token_bytes(len(adv_secret))
        content = [
            Node("device-identity", {}, seal_device_identity(adv_secret, signed)),
            Node("biz", {"name": ""}),
            Node("device", {"jid": account.pn_jid(device.number), "lid": account.lid_jid(device.number)}),
            Node("platform", {"name": "android"}),
        ]
        self._connection.send(self._iq("md", Node("pair-success", {}, list(content))))

    def _signed(self, answer: Node) -> None:
        if self._offer is None:
            return
        account, device, method = self._offer
        identity = answer.child("device-identity")
        try:
            check_device_identity(
                identity.bytes() if identity else b"",
                self._desk.endpoints.identity(account.phone).public,
                device.identity_public,
            )
        except (BadSignatureError, DecodeError) as error:
            self._desk.journal.add(JournalKind.BAD_MESSAGE, account.phone, why=f"pair-device-sign: {error}")
            self._connection.close("bad device signature")
            return
        self._desk.directory.link(account, device)
        self._desk.journal.add(
            JournalKind.PAIR_DONE,
            account.phone,
            device.number,
            connection=self._connection.number,
            method=method.value,
        )
        self._conclude("accepted")
        _log.info("linked", device=device.number, method=method.value)
        self._connection.send(stanzas.stream_error(RESTART_REQUIRED))
        self._connection.close_soon("restart after linking")
