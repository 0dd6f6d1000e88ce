"""Unix sockets on paths of any length, and newline-delimited JSON over them.

The kernel limits a socket's path to 108 bytes, and a state folder may lie deeper than that. So the folder is opened and
the socket is named through it: `/proc/self/fd/<fd>/<name>`. Worker, daemon and fork server all speak through this
module; it imports nothing of ours but the protocol's bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from appliance.protocol import MAX_LINE_BYTES

BACKLOG: Final = 16
"""Connections that may wait to be accepted; our sockets have one or two clients."""
MAX_NAME_BYTES: Final = 80
"""What is left of the kernel's 108 bytes for the last part of the path, with the temporary name's suffix."""
_IN_MOVED_TO, _IN_CREATE = 0x80, 0x100
"""linux/inotify.h"""
_INOTIFY_READ_BYTES: Final = 4096
_UCRED: Final = struct.Struct("3i")
"""`struct ucred` of unix(7): pid, uid, gid."""

T = TypeVar("T")


class PeerError(Exception):
    """The other end cannot be reached, or broke the protocol; the text says which and where."""


class PeerCredentials(NamedTuple):
    """Who was at the other end when the connection was made (SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


def bind_unix(path: str | os.PathLike[str], *, mode: int = 0o600, backlog: int = BACKLOG) -> socket.socket:
    """A listening, blocking, close-on-exec socket at `path` with permissions `mode`.

    A stale socket file is replaced in one step, so that a client never finds the path missing. Raises PeerError if
    somebody still listens there, if something else than a socket lies there, or if the name is too long; OSError if
    the folder cannot be used.
    """
    target = Path(path)
    with _directory(target) as fd:
        _refuse_living(target, fd)
        temporary = f".{target.name}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=fd)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(sock.fileno(), mode)  # Linux gives the socket file the mode of the unbound socket: no window
            sock.bind(f"/proc/self/fd/{fd}/{temporary}")
            os.chmod(temporary, mode, dir_fd=fd)  # what the umask took away
            sock.listen(backlog)
            os.rename(temporary, target.name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            sock.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=fd)
            raise
    return sock


def connect_unix(path: str | os.PathLike[str]) -> socket.socket:
    """A connected, blocking, close-on-exec socket. Never waits: a full backlog is a PeerError, like a missing path or
    one where nobody listens."""
    target = Path(path)
    try:
        with _directory(target) as fd:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(0)
                sock.connect(f"/proc/self/fd/{fd}/{target.name}")
                sock.settimeout(None)
            except BaseException:
                sock.close()
                raise
    except FileNotFoundError as error:
        raise PeerError(f"{target}: no such socket") from error
    except ConnectionRefusedError as error:
        raise PeerError(f"{target}: nobody listens there any more") from error
    except BlockingIOError as error:
        raise PeerError(f"{target}: the peer does not accept connections (its backlog is full)") from error
    except OSError as error:
        raise PeerError(f"{target}: {error.strerror or error}") from error
    return sock


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """Process and user at the other end of a connected unix socket."""
    return PeerCredentials(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))


def remove_socket(path: str | os.PathLike[str]) -> None:
    """Take a socket file away, if there is one; anything else at that path stays."""
    target = Path(path)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISSOCK(target.lstat().st_mode):
            target.unlink()


@contextlib.contextmanager
def _directory(target: Path) -> Iterator[int]:
    if len(os.fsencode(target.name)) > MAX_NAME_BYTES or not target.name:
        raise PeerError(f"{target}: the name of a socket has 1 to {MAX_NAME_BYTES} bytes")
    fd = os.open(target.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _refuse_living(target: Path, fd: int) -> None:
    try:
        found = os.stat(target.name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise PeerError(f"{target}: something that is not a socket lies there; move it away")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(0)
        probe.connect(f"/proc/self/fd/{fd}/{target.name}")
    except (ConnectionRefusedError, FileNotFoundError):
        return
    except BlockingIOError:
        pass  # a full backlog belongs to somebody
    except OSError as error:
        if error.errno == errno.EACCES:
            raise PeerError(f"{target}: the socket there belongs to another user") from error
        raise
    finally:
        probe.close()
    raise PeerError(f"{target}: another process listens there already")


def encode_line(message: msgspec.Struct) -> bytes:
    """One message as one line. Raises PeerError if it is longer than MAX_LINE_BYTES: the peer would cut us off."""
    line = msgspec.json.encode(message) + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise PeerError(f"a {type(message).__name__} of {len(line)} bytes is longer than a line may be")
    return line


def decode_line(decoder: msgspec.json.Decoder[T], line: bytes) -> T:
    """The message in one line. Raises PeerError that says what is wrong with it, without its content."""
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"the peer sent something else than the protocol allows: {error}") from error


class LineBuffer:
    """Cuts what arrives into lines; for the fork server, which has no event loop."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises PeerError when a line grows over the limit."""
        self._pending += data
        *lines, rest = bytes(self._pending).split(b"\n")
        if max(len(line) for line in (*lines, rest)) >= self._limit:
            raise PeerError(f"the peer sent a line of more than {self._limit} bytes")
        self._pending = bytearray(rest)
        return lines


class LineStream(Generic[T]):
    """Messages of the union `T` come in, any struct goes out, one JSON line each. Iterating ends with the peer."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.json.Decoder[T]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    async def receive(self) -> T | None:
        """The next message; None once the peer has closed in order. Raises PeerError if it breaks the protocol or the
        connection breaks."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise PeerError("the peer closed in the middle of a line") from error
            return None
        except asyncio.LimitOverrunError as error:
            raise PeerError(f"the peer sent a line of more than {MAX_LINE_BYTES} bytes") from error
        except ConnectionError as error:
            raise PeerError(f"the connection broke: {error.strerror or error}") from error
        return decode_line(self._decoder, line)

    async def send(self, message: msgspec.Struct) -> None:
        """Hand a message over; waits while the peer reads too slowly. Raises PeerError if it is gone."""
        self.post(message)
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise PeerError(f"the peer is gone: {error.strerror or error}") from error

    def post(self, message: msgspec.Struct) -> None:
        """As `send` without waiting, for callers that bound what they post. Raises PeerError if it is closed."""
        if self._writer.is_closing():
            raise PeerError("the peer is gone")
        self._writer.write(encode_line(message))

    @property
    def unsent_bytes(self) -> int:
        """What the peer has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    @property
    def credentials(self) -> PeerCredentials:
        """Who is at the other end."""
        sock: Any = self._writer.get_extra_info("socket")
        return PeerCredentials(*_UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))

    def close(self) -> None:
        """Send what is pending, then close; returns at once."""
        self._writer.close()

    def abort(self) -> None:
        """Close at once and drop what is pending."""
        self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Until the connection is really closed; a break on the way is no error any more."""
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def __aiter__(self) -> AsyncIterator[T]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[T]:
        while (message := await self.receive()) is not None:
            yield message


async def wait_connectable(path: str | os.PathLike[str], timeout_s: float) -> None:
    """Until somebody listens at `path`, whose folder exists; raises PeerError after `timeout_s` seconds.

    The kernel tells when a file appears in the folder (inotify), so that nothing is polled. The listener must put the
    socket there when it listens already, as `bind_unix` does.
    """
    target = Path(path)
    loop = asyncio.get_running_loop()
    fd = _watch_folder(target.parent)
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                appeared = loop.create_future()
                loop.add_reader(fd, _drain, fd, appeared)
                try:
                    connect_unix(target).close()
                except PeerError:
                    await appeared
                else:
                    return
    except TimeoutError:
        raise PeerError(f"{target}: nobody listens there after {timeout_s:g} s") from None
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _watch_folder(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), _IN_MOVED_TO | _IN_CREATE) < 0:
        code = ctypes.get_errno()
        if fd >= 0:
            os.close(fd)
        raise PeerError(f"{folder}: cannot be watched: {os.strerror(code)}")
    return fd


def _drain(fd: int, appeared: asyncio.Future[None]) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(fd, _INOTIFY_READ_BYTES)
    if not appeared.done():
        appeared.set_result(None)


async def open_lines(path: str | os.PathLike[str], decoder: msgspec.json.Decoder[T]) -> LineStream[T]:
    """Connect to `path`; `decoder` is a `msgspec.json.Decoder` of the union that the peer sends. Raises PeerError."""
    sock = connect_unix(path)
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MAX_LINE_BYTES)
    return LineStream(reader, writer, decoder)


async def serve_lines(
    sock: socket.socket, decoder: msgspec.json.Decoder[T], handler: Callable[[LineStream[T]], Awaitable[None]]
) -> asyncio.Server:
    """Accept on a socket of `bind_unix`; `handler` runs once a connection, which is closed when it returns.

    A PeerError that leaves the handler ends its connection only. Whoever closes the server removes the socket file.
    """

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = LineStream(reader, writer, decoder)
        try:
            with contextlib.suppress(PeerError):
                await handler(stream)
        finally:
            stream.close()

    if sys.version_info >= (3, 13):  # it would look for the socket under the name by which it was bound, and stumble
        return await asyncio.start_unix_server(accept, sock=sock, limit=MAX_LINE_BYTES, cleanup_socket=False)
    return await asyncio.start_unix_server(accept, sock=sock, limit=MAX_LINE_BYTES)
