"""Where clients come in: the unix socket and the TCP door. Each connection is counted before anything is spent on it.

The connections are accepted here and not by the web framework, because a TLS handshake that never ends would not be
counted otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import grp
import ipaddress
import os
import pwd
import resource
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from appliance.api.audit_log import AuditLog, Deed
from appliance.api.connection import Connection
from appliance.api.gatekeeper import TCP, UNIX, Gatekeeper, Peer
from appliance.api.limiters import peer_of, plain_address
from appliance.api.settings import ApiSettings, Place
from appliance.sockets import PeerError, bind_unix, peer_credentials, remove_socket

SOCKET_MODE: Final = 0o660
"""The appliance's user and group: whoever may use the API, and nobody else."""
BACKLOG: Final = 1024
"""Clients that knock at the same moment; the kernel bounds it by net.core.somaxconn."""
UNIX_CONNECTIONS: Final = 4096
"""Local users are trusted, their programs may still have faults."""
HANDSHAKE_S: Final = 10.0
"""A TLS handshake takes two round trips."""
OPEN_FILES: Final = 8192
"""What the daemon asks for; systems begin with 1024, of which clients alone could need more."""
FILES_FOR_OTHERS: Final = 256
"""Descriptors that clients do not get: databases, workers, media on their way."""
ACCEPT_PAUSE_S: Final = 0.5
"""When the system has no descriptors left; what ends frees some."""
_LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: a refused connection leaves nothing behind in the kernel."""

_log = structlog.get_logger(__name__)

ConnectionFactory = Callable[[Peer, Callable[[], None], Callable[[], None]], Connection]
"""A connection for a peer; what to call when it has sent a request, and when it has ended."""


class Door(Protocol):
    async def open(self) -> None:
        """Raises OSError or PeerError."""
        ...

    async def close(self) -> None:
        """Nobody comes in any more; those inside stay."""
        ...


class Visit:
    """One connection, from its acceptance to its end. `end`: how to end it from outside."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.end: Callable[[], None] = lambda: None


class Turnstile:
    """Counts who is inside: at most `limit`, and `each` with the same name.

    When it is full, whoever has waited longest without asking for anything makes room: thousands of connections that
    never speak keep nobody out who does.
    """

    def __init__(self, limit: int, each: int) -> None:
        self._limit = limit
        self._each = each
        self._inside: dict[str, int] = {}
        self._visits: set[Visit] = set()
        self._silent: dict[Visit, None] = {}
        """In order of coming: those that have not sent a request yet."""

    def enter(self, name: str, *, bounded: bool = True) -> Visit | None:
        """`bounded`: whether there is a limit for this name. None: no room."""
        mine = self._inside.get(name, 0)
        if bounded and mine >= self._each:
            return None
        if len(self._visits) >= self._limit and not self._make_room():
            return None
        visit = Visit(name)
        self._visits.add(visit)
        self._silent[visit] = None
        self._inside[name] = self._inside.get(name, 0) + 1
        return visit

    def has_spoken(self, visit: Visit) -> None:
        """A request has come from it: it is not put out any more."""
        self._silent.pop(visit, None)

    def leave(self, visit: Visit) -> None:
        """It has ended; safe to call again."""
        if visit not in self._visits:
            return
        self._visits.discard(visit)
        self._silent.pop(visit, None)
        self._inside[visit.name] -= 1
        if not self._inside[visit.name]:
            del self._inside[visit.name]

    def _make_room(self) -> bool:
        oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.end()
        return True


class _Accepting:
    """What both doors share: the loop that takes connections in."""

    def __init__(self, make: ConnectionFactory, audit: AuditLog, turnstile: Turnstile) -> None:
        self._make = make
        self._audit = audit
        self._turnstile = turnstile
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._entering: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None

    def _begin(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener), name="accept")

    async def close(self) -> None:
        for task in (self._accepting, *self._entering):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except ConnectionError:  # it has left already
                continue
            except OSError as error:
                _log.error("no connection can be taken", error=error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            self._enter(sock, address)

    def _enter(self, sock: socket.socket, address: Any) -> None:
        try:
            peer, name, bounded = self._peer(sock, address)
        except OSError:
            sock.close()
            return
        refusal = self._refusal(peer)
        visit = None if refusal else self._turnstile.enter(name, bounded=bounded)
        if visit is None:
            self._audit.refuse(Deed(peer.who, peer.door, peer.address, refusal or "too_many_connections"))
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            sock.close()
            return
        task = asyncio.create_task(self._serve(sock, peer, visit), name="enter")
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)
        visit.end = functools.partial(self._put_out, task, peer)

    async def _serve(self, sock: socket.socket, peer: Peer, visit: Visit) -> None:
        """Until the connection is made: with TLS, that is after the handshake."""
        connection = self._make(
            peer,
            functools.partial(self._turnstile.has_spoken, visit),
            functools.partial(self._turnstile.leave, visit),
        )
        loop = asyncio.get_running_loop()
        handshake_s = None if self._tls is None else HANDSHAKE_S
        try:
            await loop.connect_accepted_socket(
                lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
            visit.end = functools.partial(connection.cut, "silent_when_full")
        except OSError as error:  # TimeoutError and ssl.SSLError are among them
            self._audit.refuse(Deed(peer.who, peer.door, peer.address, "handshake_failed", detail=_reason(error)))
            self._turnstile.leave(visit)
            sock.close()
        except BaseException:
            self._turnstile.leave(visit)
            sock.close()
            raise

    def _put_out(self, task: asyncio.Task[None], peer: Peer) -> None:
        """End a connection that is still in its handshake."""
        self._audit.refuse(Deed(peer.who, peer.door, peer.address, "silent_when_full"))
        task.cancel()

    def _peer(self, sock: socket.socket, address: Any) -> tuple[Peer, str, bool]:
        """Who it is, under what name it is counted, and whether that name is bounded."""
        raise NotImplementedError

    def _refusal(self, peer: Peer) -> str:  # noqa: ARG002 - the TCP door looks at it
        return ""


class UnixDoor(_Accepting):
    """The socket that is always there: file modes say who may, the kernel says who it is."""

    def __init__(self, make: ConnectionFactory, audit: AuditLog, path: Path, group: str) -> None:
        super().__init__(make, audit, Turnstile(UNIX_CONNECTIONS, UNIX_CONNECTIONS))
        self._path = path
        self._group = group

    async def open(self) -> None:
        """Raises PeerError if another process listens on the socket, OSError if the folder cannot be used."""
        listener = bind_unix(self._path, mode=SOCKET_MODE, backlog=BACKLOG)
        self._give_to_group()
        self._begin(listener)

    async def close(self) -> None:
        await super().close()
        remove_socket(self._path)

    def _give_to_group(self) -> None:
        try:
            group = grp.getgrnam(self._group).gr_gid
        except KeyError:
            return
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chown(self._path.name, -1, group, dir_fd=folder, follow_symlinks=False)
        except PermissionError:
            _log.warning("the socket stays with its own group", group=self._group, remedy="add the user to the group")
        finally:
            os.close(folder)

    def _peer(self, sock: socket.socket, address: Any) -> tuple[Peer, str, bool]:  # noqa: ARG002
        found = peer_credentials(sock)
        return Peer(UNIX, f"pid {found.pid}", f"user:{_user_name(found.uid)}"), str(found.uid), True


class TcpDoor(_Accepting):
    """Off unless `api.listen` names a place."""

    def __init__(self, make: ConnectionFactory, audit: AuditLog, gatekeeper: Gatekeeper, settings: ApiSettings) -> None:
        limit = min(settings.connections, raise_file_limit() - FILES_FOR_OTHERS)
        super().__init__(make, audit, Turnstile(max(1, limit), settings.connections_per_peer))
        self._settings = settings
        self._gatekeeper = gatekeeper
        self._loaded: tuple[int, int] = (0, 0)
        self.port = 0
        """Where it listens; the one that was chosen if the setting was 0."""

    async def open(self) -> None:
        """Raises PeerError: the address is taken or not ours, or the certificate cannot be used."""
        place = self._settings.place()
        if place is None:
            return
        try:
            self._open(place)
        except OSError as error:
            what = error.filename or f"api.listen: {self._settings.listen}"
            raise PeerError(f"{what}: {error.strerror or _reason(error)}; choose another, or leave it empty") from error

    def _open(self, place: Place) -> None:
        if self._settings.certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls.set_alpn_protocols(["http/1.1"])
            self.renew_certificate()
        family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(tuple(place))
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        self.port = int(listener.getsockname()[1])
        self._begin(listener)
        _log.info("the TCP door is open", address=place.host, port=self.port, tls=self._tls is not None)

    def renew_certificate(self) -> None:
        """Load the certificate if its file has changed; connections that are open keep the old one. Raises OSError."""
        if self._tls is None or self._settings.certificate is None:
            return
        found = self._settings.certificate.stat()
        seen = (found.st_mtime_ns, found.st_ino)
        if seen != self._loaded:
            self._tls.load_cert_chain(self._settings.certificate, self._settings.key)
            self._loaded = seen

    def _peer(self, sock: socket.socket, address: Any) -> tuple[Peer, str, bool]:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = plain_address(str(address[0]).partition("%")[0])
        return Peer(TCP, host), peer_of(host), not self._gatekeeper.is_proxy(host)

    def _refusal(self, peer: Peer) -> str:
        """Without TLS of our own only proxies that have ended it may come, and this machine."""
        if self._tls is not None or self._gatekeeper.is_proxy(peer.address):
            return ""
        return "" if ipaddress.ip_address(peer.address).is_loopback else "not_a_trusted_proxy"


def raise_file_limit() -> int:
    """Let this process open as many files as the system allows it, up to OPEN_FILES; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _reason(error: Exception) -> str:
    """Why a handshake failed, in the library's own word."""
    return str(getattr(error, "reason", "") or type(error).__name__)
