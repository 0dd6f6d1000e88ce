"""One client of the fork server, without waiting: what cannot be sent now is kept, within a bound."""

from __future__ import annotations

import os
import socket
from typing import Final

import msgspec

from appliance.processes import descends_from
from appliance.protocol import ForkRequest, FromForkServer
from appliance.sockets import LineBuffer, PeerError, decode_line, encode_line, peer_credentials

MAX_UNSENT_BYTES: Final = 4 << 20
"""A client that reads so slowly is cut off; it connects again and is told everything that still counts."""
READ_BYTES: Final = 1 << 16

_DECODER: Final = msgspec.json.Decoder(ForkRequest)


class Connection:
    """Requests in, replies out. Raises PeerError when the client is gone, breaks the protocol or does not read."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._lines = LineBuffer()
        self._unsent = bytearray()

    def admit(self) -> None:
        """Who may give orders: the same user and root, but none of our own workers. Raises PeerError."""
        peer = peer_credentials(self.sock)
        if peer.uid not in (0, os.geteuid()):
            raise PeerError(f"user {peer.uid} may not control the workers of user {os.geteuid()}")
        if peer.pid != os.getpid() and descends_from(peer.pid, os.getpid()):
            raise PeerError(f"process {peer.pid} is a worker and may not control others")

    def receive(self) -> list[ForkRequest]:
        """What has arrived, complete requests only."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError as error:
            raise PeerError("the client is gone") from error
        if not data:
            raise PeerError("the client has closed")
        return [decode_line(_DECODER, line) for line in self._lines.feed(data)]

    def send(self, message: FromForkServer) -> None:
        """Send now what the client takes, keep the rest for `flush`."""
        self._unsent += encode_line(message)
        self.flush()
        if len(self._unsent) > MAX_UNSENT_BYTES:
            raise PeerError("the client does not read its answers")

    def flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            return
        except ConnectionError as error:
            raise PeerError("the client is gone") from error

    @property
    def wants_to_send(self) -> bool:
        return bool(self._unsent)
