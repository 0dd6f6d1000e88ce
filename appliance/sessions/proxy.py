"""A session's own way to WhatsApp: what a proxy's URL may be, how it is shown, and whether it works before it is used.

The engine takes a proxy that it does not understand for none at all, and an unreachable one for an outage of WhatsApp.
So the URL is read here, strictly, and the proxy is asked to reach WhatsApp before a process is forked. A tunnel that
was opened for the check is closed at once; nothing is said through it.

SOCKS5: RFC 1928, with user name and password RFC 1929. HTTP: CONNECT, RFC 9110 section 9.3.6.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

SCHEMES: Final = ("http", "socks5")
"""What the engine and this check both speak."""
DESTINATION: Final = ("web.whatsapp.com", 443)
"""Where the engine connects to (whatsmeow, socket/constants.go)."""
CHECK_S: Final = 10.0
"""A far mobile proxy takes two or three seconds for three round trips."""
HIDDEN_LOGIN: Final = "···@"
FIELD_REMEDY: Final = (
    "Write http://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before HOST if it wants a login."
)
_MAX_HEADER_BYTES: Final = 16 * 1024
_MAX_LOGIN_BYTES: Final = 255
"""A length is one byte in RFC 1929."""
_LARGEST_PORT: Final = 65535
_VERSION, _NO_LOGIN, _LOGIN, _NOTHING_ACCEPTED = 5, 0, 2, 0xFF
_LOGIN_VERSION, _CONNECT, _NAME, _IPV4, _IPV6 = 1, 1, 3, 1, 4
_REPLIES: Final = {
    1: "a general failure",
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the host is unreachable",
    5: "the connection was refused",
    6: "the time to live expired",
    7: "it does not know the command",
    8: "it does not know this type of address",
}
"""REP of RFC 1928 section 6."""
_AUTHENTICATION_REQUIRED: Final = 407


class ProxyError(Exception):
    """The proxy cannot be used; one line, without its login. `remedy` says what to do."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.remedy = remedy


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy's URL, read."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""

    def __str__(self) -> str:
        """As it may be shown: whoever reads it learns that there is a login, not which."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{HIDDEN_LOGIN if self.user else ''}{host}:{self.port}"

    __repr__ = __str__

    @property
    def on_loopback(self) -> bool:
        """Whether it is an address of this machine; a name may be resolved to anything."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_proxy(url: str) -> Proxy:
    """Read a URL. Raises ProxyError, which does not repeat what may be a password."""
    if not url.isascii() or any(char.isspace() or not char.isprintable() for char in url):
        raise ProxyError("a proxy's URL has no spaces and no other than ASCII characters", FIELD_REMEDY)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ProxyError("the host or the port of the proxy cannot be read", FIELD_REMEDY) from None
    if parts.scheme not in SCHEMES:
        known = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ProxyError(f"a proxy's URL begins with {known}", FIELD_REMEDY)
    if not host:
        raise ProxyError("the proxy's URL names no host", FIELD_REMEDY)
    if port is None or not 0 < port <= _LARGEST_PORT:
        raise ProxyError("the proxy's URL names no port", FIELD_REMEDY)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyError("a proxy's URL ends with its port", FIELD_REMEDY)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if max(len(user.encode()), len(password.encode())) > _MAX_LOGIN_BYTES:
        raise ProxyError(f"the proxy's login is longer than {_MAX_LOGIN_BYTES} bytes", FIELD_REMEDY)
    if password and not user:
        raise ProxyError("the proxy's login has a password and no user name", FIELD_REMEDY)
    return Proxy(scheme=parts.scheme, host=host, port=port, user=user, password=password)


def show_proxy(url: str) -> str:
    """A stored URL as it may be shown."""
    try:
        return str(parse_proxy(url))
    except ProxyError:
        return "···"


async def check_proxy(proxy: Proxy, destination: tuple[str, int] = DESTINATION, timeout_s: float = CHECK_S) -> None:
    """Have it open a tunnel to WhatsApp, and close it. Raises ProxyError with the step that failed."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            try:
                tunnel = _socks5 if proxy.scheme == "socks5" else _http
                await tunnel(proxy, destination, reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise _unusable(proxy, f"does not answer within {timeout_s:g} s") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
        if isinstance(error, ConnectionRefusedError):
            raise _unusable(proxy, "cannot be reached: connection refused") from None
        raise _unusable(proxy, f"does not speak {proxy.scheme}, or closed the connection") from None
    except OSError as error:
        raise _unusable(proxy, f"cannot be reached: {error.strerror or type(error).__name__}") from None


async def _socks5(
    proxy: Proxy, destination: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    method = _LOGIN if proxy.user else _NO_LOGIN
    writer.write(bytes([_VERSION, 1, method]))
    version, chosen = await reader.readexactly(2)
    if version != _VERSION:
        raise _unusable(proxy, "does not speak socks5")
    if chosen == _NOTHING_ACCEPTED:
        raise _login(proxy, "wants a login" if not proxy.user else "takes no login")
    if chosen == _LOGIN:
        user, password = proxy.user.encode(), proxy.password.encode()
        writer.write(bytes([_LOGIN_VERSION, len(user)]) + user + bytes([len(password)]) + password)
        _, refused = await reader.readexactly(2)
        if refused:
            raise _login(proxy, "does not accept the user name and password")
    host, port = destination
    writer.write(bytes([_VERSION, _CONNECT, 0, _NAME, len(host)]) + host.encode() + port.to_bytes(2))
    _, reply, _, kind = await reader.readexactly(4)
    if reply:
        raise _unusable(proxy, f"does not reach WhatsApp: {_REPLIES.get(reply, f'its code is {reply}')}")
    length = {_IPV4: 4, _IPV6: 16}.get(kind) or (await reader.readexactly(1))[0]
    await reader.readexactly(length + 2)


async def _http(
    proxy: Proxy, destination: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    target = f"{destination[0]}:{destination[1]}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user:
        login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.readuntil(b"\r\n")
    words = answer[:_MAX_HEADER_BYTES].split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise _unusable(proxy, "does not speak http")
    status = int(words[1])
    if status == _AUTHENTICATION_REQUIRED:
        raise _login(proxy, "does not accept the user name and password" if proxy.user else "wants a login")
    if not 200 <= status < 300:  # RFC 9110: any 2xx opens the tunnel
        raise _unusable(proxy, f"does not reach WhatsApp: it answers {status}")


def _unusable(proxy: Proxy, text: str) -> ProxyError:
    return ProxyError(
        f"the proxy {proxy} {text}", "See to it that the proxy runs, or set another: amda session set ID --proxy URL"
    )


def _login(proxy: Proxy, text: str) -> ProxyError:
    return ProxyError(
        f"the proxy {proxy} {text}", "Correct it: amda session set ID --proxy SCHEME://USER:PASSWORD@HOST:PORT"
    )
