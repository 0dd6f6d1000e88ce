"""A linked device that logs in: who it is, whether it may, and what it says from then on."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from appliance.staging import stanzas
from appliance.staging.accounts import Account, Directory
from appliance.staging.chat import ChatConnection, Peer
from appliance.staging.codec import protobuf
from appliance.staging.codec.binary_xml import Node
from appliance.staging.control_types import FaultKind, JournalKind
from appliance.staging.delivery import Delivery
from appliance.staging.faults import Faults, Target
from appliance.staging.journal import Journal
from appliance.staging.proxy import Tunnel
from appliance.staging.registration import Desk, DevicePairingData

_log: Final = structlog.get_logger(__name__)
_USERNAME: Final = 1
_DEVICE: Final = 18
_PAIRING: Final = 19
"""Fields of ClientPayload."""
_TCP_ESTABLISHED: Final = 1
"""tcpi_state in linux/tcp.h (enum in net/tcp_states.h)."""
_QUIET: Final = frozenset({"ib", "chatstate", "notification", "call"})
"""What devices say and nobody answers."""


class Requests(Protocol):
    """Answers the requests of a logged-in device (iq.py)."""

    def handle(self, session: Session, node: Node) -> None:
        """Answer one `<iq type=get|set>`."""


class Arrivals(Protocol):
    """Takes the messages of a logged-in device (arrivals.py)."""

    def handle(self, session: Session, node: Node) -> None:
        """Take one `<message>`."""


class FirstLogin(Protocol):
    """What an account's phone does when a device that it linked is there for the first time (phone.py)."""

    def on_first_login(self, session: Session) -> None:
        """The device has announced itself active."""


class Refused:
    """The peer of a connection that was not let in."""

    def on_stanza(self, node: Node) -> None:
        """Nothing that it says is heard."""

    def on_closed(self) -> None:
        """Its end was journalled with the refusal."""


@dataclass
class Gate:
    """Decides who a client is, and keeps the sessions that are logged in."""

    directory: Directory
    desk: Desk
    delivery: Delivery
    faults: Faults
    journal: Journal
    requests: Requests
    arrivals: Arrivals
    phone: FirstLogin
    sessions: dict[tuple[str, int], Session] = field(default_factory=dict)

    def welcome(self, connection: ChatConnection, noise_public: bytes, payload: protobuf.Fields) -> Peer:
        if payload.has(_PAIRING):
            keys = DevicePairingData.read(payload.message(_PAIRING))
            return self.desk.welcome(connection, noise_public, keys)
        phone, number = str(payload.int(_USERNAME)), payload.int(_DEVICE)
        connection.tunnel.account, connection.tunnel.device = phone, number  # from here on faults know whose it is
        account = self.directory.account(phone)
        device = account.devices.get(number) if account is not None else None
        fault = self.faults.find([FaultKind.FAILURE], Target(connection.number, phone, number))
        if fault is not None:
            return self._refuse(connection, phone, number, fault.spec.code or stanzas.LOGGED_OUT, fault.spec.expire_s)
        if account is None or device is None or device.noise_public != noise_public:
            return self._refuse(connection, phone, number, stanzas.LOGGED_OUT, 0)
        session = Session(self, connection, account, number)
        self._replace(session)
        self.sessions[phone, number] = session
        session.begin()
        return session

    def _refuse(self, connection: ChatConnection, phone: str, number: int, reason: int, expire_s: int) -> Peer:
        self.journal.add(
            JournalKind.LOGIN,
            phone,
            number,
            connection=connection.number,
            answer=f"failure {reason}",
            port=connection.tunnel.peer[1],
        )
        connection.send(stanzas.failure(reason, expire_s))
        connection.close_soon(f"failure {reason}")
        return Refused()

    def _replace(self, session: Session) -> None:
        """One connection for each device: an older one is told to go; if its client lives, it was a second copy."""
        older = self.sessions.get((session.account.phone, session.number))
        if older is None:
            return
        if client_lives(older.connection.tunnel) and older.connection.ended_by is None:
            self.journal.add(
                JournalKind.SECOND_COPY,
                session.account.phone,
                session.number,
                connection=session.connection.number,
                older=older.connection.number,
            )
        older.stream_error(0, "replaced", "replaced")
        if older.connection.tunnel.stalled:
            older.connection.tunnel.reset("replaced")

    def closed(self, session: Session) -> None:
        if self.sessions.get((session.account.phone, session.number)) is session:
            del self.sessions[session.account.phone, session.number]


def client_lives(tunnel: Tunnel) -> bool:
    """Whether the other end of a connection is open, asked of the kernel: nobody may have read its FIN yet."""
    sock = tunnel.client.get_extra_info("socket")
    if tunnel.closing or sock is None:
        return False
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return bool(state[0] == _TCP_ESTABLISHED)


class Session:
    """The connection of one linked device, from `<success>` to its end."""

    def __init__(self, gate: Gate, connection: ChatConnection, account: Account, number: int) -> None:
        self._gate = gate
        self.connection = connection
        self.account = account
        self.number = number
        self.ready = False
        self._heard = False
        """Whether the device has said anything since: so it knows that it is ready."""
        self._since = time.monotonic()

    @property
    def target(self) -> Target:
        return Target(self.connection.number, self.account.phone, self.number)

    def send(self, node: Node) -> None:
        self.connection.send(node)

    def send_encoded(self, stanza: bytes) -> None:
        self.connection.send_encoded(stanza)

    def begin(self) -> None:
        self._gate.journal.add(
            JournalKind.LOGIN,
            self.account.phone,
            self.number,
            connection=self.connection.number,
            answer="success",
            port=self.connection.tunnel.peer[1],
        )
        attrs: stanzas.Attrs = {
            "t": stanzas.now(),
            "lid": self.account.lid_jid(self.number),
            "props": "27",
            "abprops": "1",
            "location": "frc",
            "display_name": self.account.name,
            "creation": "1700000000",
        }
        self.send(Node("success", attrs))

    def activate(self) -> None:
        """The device is ready: its queue is flushed. Said again, as a harmless probe, it changes nothing."""
        if self.ready:
            return
        self.ready = True
        self._gate.journal.add(JournalKind.READY, self.account.phone, self.number, connection=self.connection.number)
        device = self.account.devices.get(self.number)
        if device is not None and not device.logged_in_before:
            device.logged_in_before = True
            self._gate.directory.save(self.account)
            self._gate.phone.on_first_login(self)
        self._gate.delivery.flush(self)

    def on_stanza(self, node: Node) -> None:
        if self.number not in self.account.devices:
            return  # unlinked a moment ago
        self._heard = self.ready
        match node.tag:
            case "iq" if node.attr("type") in ("get", "set"):
                self._gate.requests.handle(self, node)
            case "iq":
                pass  # answers to our own requests
            case "receipt":
                self._gate.delivery.on_receipt(self, node)
            case "ack":
                self._gate.delivery.on_ack(self, node)
            case "message":
                self._gate.arrivals.handle(self, node)
            case "presence":
                self._gate.journal.add(
                    JournalKind.PRESENCE, self.account.phone, self.number, type=node.attr("type") or "available"
                )
            case tag if tag not in _QUIET:
                self._gate.journal.add(JournalKind.UNKNOWN_REQUEST, self.account.phone, self.number, what=f"<{tag}>")

    def stream_error(self, code: int, conflict: str, why: str) -> None:
        """Tell the device that its stream is over, and close."""
        self.send(stanzas.stream_error(code, conflict))
        self.connection.close_soon(why)

    def on_closed(self) -> None:
        self._gate.delivery.detach(self)
        self._gate.closed(self)
        by = self.connection.ended_by or self.connection.tunnel.ended_by or "client"
        self._gate.journal.add(
            JournalKind.CLOSED,
            self.account.phone,
            self.number,
            connection=self.connection.number,
            by=by,
            ready=self.ready,
            heard=self._heard,
            stalled=self.connection.tunnel.stalled,
            seconds=round(time.monotonic() - self._since, 3),
        )
