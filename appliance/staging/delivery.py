"""The queues of the linked devices: what was sent stays, and is sent again, until the device has receipted it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from appliance.staging import stanzas
from appliance.staging.accounts import Account, Directory
from appliance.staging.codec import binary_xml
from appliance.staging.codec.binary_xml import Node
from appliance.staging.codec.jid import SERVER
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.endpoints import Endpoints
from appliance.staging.faults import Faults, Target
from appliance.staging.journal import Journal
from appliance.staging.store import Store

MAX_RETRIES: Final = 5
"""The engine gives up at the fifth; then its acknowledgement is final."""
RETRY_GRACE_S: Final = 2.0
"""Between an acknowledgement without a receipt and the request for a retry that may follow it."""
_NOT_A_DELIVERY: Final = frozenset({"read", "read-self", "played", "played-self", "server-error", "inactive-read"})
"""Types of a `<receipt>` that say more than "has arrived"."""


class Line(Protocol):
    """The connection of a linked device that is ready to receive."""

    account: Account
    number: int

    def send(self, node: Node) -> None:
        """Write a stanza."""

    def send_encoded(self, stanza: bytes) -> None:
        """Write a stanza that is binary XML already."""

    @property
    def target(self) -> Target:
        """For asking about faults."""


class Pending(msgspec.Struct, kw_only=True):
    """One stanza for one device, until it is receipted."""

    account: str
    device: int
    stanza_id: str
    stanza: bytes
    sender: str = ""
    """The phone whose endpoint encrypted it; empty: no phone can encrypt it again."""
    message: bytes = b""
    """The Message to encrypt again on a retry."""
    origin: tuple[str, int] | None = None
    """The linked device that wrote it; retries are its business."""
    placeholder: bool = False
    """Nothing is encrypted in it: an acknowledgement is all that it gets."""
    retries: int = 0
    about: str = ""
    """For what is no message: which news it is."""


@dataclass
class Delivery:
    store: Store
    journal: Journal
    faults: Faults
    directory: Directory
    endpoints: Endpoints
    lines: dict[tuple[str, int], Line] = field(default_factory=dict)
    """Devices that are ready."""
    _queues: dict[tuple[str, int], dict[int, Pending]] = field(default_factory=dict)
    _numbers: dict[tuple[str, int, str], list[int]] = field(default_factory=dict)
    """Queue numbers by stanza id: a device that was away has thousands of stanzas, and receipts name one."""

    def load(self) -> None:
        for number, value in self.store.queued():
            pending = msgspec.msgpack.decode(value, type=Pending)
            self._remember(number, pending)

    def _remember(self, number: int, pending: Pending) -> None:
        self._queues.setdefault((pending.account, pending.device), {})[number] = pending
        self._numbers.setdefault((pending.account, pending.device, pending.stanza_id), []).append(number)

    def _forget(self, number: int, pending: Pending) -> None:
        key = (pending.account, pending.device, pending.stanza_id)
        self._numbers[key].remove(number)
        if not self._numbers[key]:
            del self._numbers[key]
        self.store.dequeue(number)

    # ---- to devices

    def post(self, pending: Pending) -> None:
        """Queue a stanza, and write it if its device is ready."""
        key = (pending.account, pending.device)
        number = self.store.enqueue(msgspec.msgpack.encode(pending))
        self._remember(number, pending)
        line = self.lines.get(key)
        if line is not None and not self.faults.find([FaultKind.HOLD], line.target):
            self._write(line, pending, offline=False)

    def post_node(self, node: Node, pending: Pending) -> None:
        pending.stanza = binary_xml.encode(node)
        self.post(pending)

    def flush(self, line: Line) -> None:
        """The device is ready: everything that has waited, then how much it was."""
        key = (line.account.phone, line.number)
        self.lines[key] = line
        waiting = list(self._queues.get(key, {}).values())
        if self.faults.find([FaultKind.HOLD], line.target):
            waiting = []
        for pending in waiting:
            self._write(line, pending, offline=True)
        count = Node("offline", {"count": str(len(waiting))})
        line.send(Node("ib", {"from": SERVER}, [count]))

    def release(self) -> None:
        """A HOLD has ended: give every ready device what it lacks."""
        for key, line in self.lines.items():
            if not self.faults.find([FaultKind.HOLD], line.target):
                for pending in list(self._queues.get(key, {}).values()):
                    self._write(line, pending, offline=False)

    def detach(self, line: Line) -> None:
        if self.lines.get((line.account.phone, line.number)) is line:
            del self.lines[line.account.phone, line.number]

    def drop(self, phone: str, device: int) -> None:
        """The device is not linked any more."""
        for number, pending in self._queues.pop((phone, device), {}).items():
            self._forget(number, pending)

    def pending(self, phone: str, device: int) -> int:
        return sum(not p.about for p in self._queues.get((phone, device), {}).values())

    def total(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def _write(self, line: Line, pending: Pending, *, offline: bool) -> None:
        if offline:
            node = binary_xml.decode(pending.stanza)
            node.attrs["offline"] = "0"
            line.send(node)
        else:
            line.send_encoded(pending.stanza)
        if not pending.about:
            self.journal.add(
                JournalKind.DELIVERED,
                pending.account,
                pending.device,
                pending.stanza_id,
                offline=offline,
                retry=pending.retries,
            )

    # ---- from devices

    def _found(self, line: Line, stanza_id: str) -> list[tuple[int, Pending]]:
        key = (line.account.phone, line.number)
        queue = self._queues.get(key, {})
        return [(number, queue[number]) for number in self._numbers.get((*key, stanza_id), ())]

    def _done(self, line: Line, number: int) -> None:
        pending = self._queues[line.account.phone, line.number].pop(number)
        self._forget(number, pending)
        if pending.about:
            self.journal.add(JournalKind.TOLD, pending.account, pending.device, pending.stanza_id, about=pending.about)

    def on_receipt(self, line: Line, node: Node) -> None:
        """A device says what became of messages: delivered, not readable, read."""
        kind = node.attr("type") or ""
        ids = [node.attr("id") or ""]
        listed = node.child("list")
        if listed is not None:
            ids += [item.attr("id") or "" for item in listed.children("item")]
        line.send(stanzas.ack(node))
        if kind == "retry":
            self._retry(line, node)
            return
        for stanza_id in ids:
            if kind in _NOT_A_DELIVERY:
                self.journal.add(JournalKind.READ, line.account.phone, line.number, stanza_id, type=kind)
                continue
            found = self._found(line, stanza_id)
            for number, _ in found:
                self._done(line, number)
            if any(not pending.about for _, pending in found):
                self.journal.add(JournalKind.RECEIPTED, line.account.phone, line.number, stanza_id, type=kind)

    def on_ack(self, line: Line, node: Node) -> None:
        """A device acknowledges a stanza without having read a message in it."""
        for number, pending in self._found(line, node.attr("id") or ""):
            error = node.attr("error") or ""
            if pending.placeholder or not pending.message:
                self._acknowledged(line, number, pending.retries, error)
            else:
                # The request for a retry comes just before it or just after: only silence after it is final.
                asyncio.get_running_loop().call_later(
                    RETRY_GRACE_S, self._acknowledged, line, number, pending.retries, error
                )

    def _acknowledged(self, line: Line, number: int, retries: int, error: str) -> None:
        pending = self._queues.get((line.account.phone, line.number), {}).get(number)
        if pending is None or pending.retries != retries or 0 < pending.retries < MAX_RETRIES:
            return
        self._done(line, number)
        if not pending.about:
            self.journal.add(
                JournalKind.ACKED,
                pending.account,
                pending.device,
                pending.stanza_id,
                placeholder=pending.placeholder,
                error=error,
            )

    def _retry(self, line: Line, node: Node) -> None:
        """Encrypt again, in a session made anew, what a device could not read."""
        stanza_id = node.attr("id") or ""
        retry = node.child("retry")
        count = int(retry.attr("count") or "1") if retry is not None else 1
        self.journal.add(JournalKind.RETRY_ASKED, line.account.phone, line.number, stanza_id, count=count)
        for number, pending in self._found(line, stanza_id):
            pending.retries = count
            if pending.origin is not None:
                self._forward_retry(line, pending.origin, node)
            if not pending.sender or count > MAX_RETRIES:
                continue
            bundle = self.endpoints.device_bundle(line.account, line.number, given=_given_key(node))
            enc_type, ciphertext = self.endpoints.encrypt(
                pending.sender, line.account, line.number, pending.message, fresh=bundle
            )
            stanza = binary_xml.decode(pending.stanza)
            old = stanza.children("enc")
            attrs: stanzas.Attrs = dict(old[-1].attrs) if old else {"v": "2"}
            enc = Node("enc", attrs | {"type": enc_type.value, "count": str(count)}, ciphertext)
            stanza.content = [enc]
            pending.stanza = binary_xml.encode(stanza)
            self.store.requeue(number, msgspec.msgpack.encode(pending))
            self._write(line, pending, offline=False)

    def _forward_retry(self, line: Line, origin: tuple[str, int], node: Node) -> None:
        sender = self.lines.get(origin)
        if sender is not None:
            attrs = dict(node.attrs) | {"from": line.account.lid_jid(line.number), "t": stanzas.now()}
            attrs.pop("to", None)
            sender.send(Node("receipt", attrs, node.content))


def _given_key(node: Node) -> tuple[int, bytes] | None:
    """The one-time key that a device hands over from its second retry on."""
    keys = node.child("keys")
    key = keys.child("key") if keys is not None else None
    if key is None:
        return None
    identifier, value = key.child("id"), key.child("value")
    if identifier is None or value is None:
        return None
    return int.from_bytes(identifier.bytes()), value.bytes()
