"""Where messages may go: what a target is, and that a person's contact cannot be turned against this machine.

Contacts come in by the API. Without a check one could have the daemon speak to services that only it can reach, read
files into messages, or pop up windows on the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import socket
import threading
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from appliance.history.settings import MIN_SECRET, URL_PATTERN, AlertSettings
from appliance.problems import invalid

WEBHOOK_SCHEMES: Final = frozenset({"http", "https"})
_LOCAL_SCHEMES: Final = frozenset(
    {"dbus", "qt", "kde", "glib", "gnome", "macosx", "windows", "syslog", "file", "apprise", "mqtt", "mqtts"}
)
"""Apprise services that act on this machine or read from it, and brokers that are usually found beside us."""
_TOKEN_SCHEMES: Final = frozenset(
    {"tgram", "discord", "slack", "pover", "pbul", "twilio", "vonage", "whatsapp", "threema", "d7sms", "msg91"}
)
"""Services at one place of the internet: where others name a host these have a token, which may look like an address
and must not be asked of a name server."""
_FILE_KEYS: Final = frozenset({"template", "file", "config", "attach", "cert", "key"})
"""Query keys with which some of apprise's services read a file of this machine."""
_HOST_KEYS: Final = frozenset({"smtp", "host", "server"})
"""Query keys that name another host than the URL itself."""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""A gateway makes an IPv4 connection of it (RFC 6052); the last four bytes say where to."""


class ForbiddenTargetError(Exception):
    """The target lies where contacts must not lie; `str()` is one line without the target's secrets."""


@dataclasses.dataclass(frozen=True)
class Reach:
    """Where something may lead: into the open internet, into some private networks too, or `anywhere`."""

    networks: tuple[Network, ...] = ()
    anywhere: bool = False

    def allows(self, address: str) -> bool:
        """Whether an IP address lies there."""
        if self.anywhere or is_public(address):
            return True
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self.networks)


_INTERNET: Final = Reach()


def contact_reach(settings: AlertSettings, *, person: bool) -> Reach:
    """Where alerts may be told: persons' contacts came by the API, operators' targets stand in the settings file."""
    return Reach(anywhere=not person or settings.private_contacts)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet; also what it carries inside, where a gateway unpacks that."""
    parsed = _parsed(address)
    if parsed is None:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.sixtofour or (ipaddress.IPv4Address(parsed.packed[12:]) if parsed in _NAT64 else None)
        if inner is not None and not is_public(str(inner)):
            return False
        if parsed.is_site_local or parsed.teredo is not None:
            return False
    return parsed.is_global and not parsed.is_multicast


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 address in IPv6 clothes is an IPv4 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def check_contact(contact: str, settings: AlertSettings) -> None:
    """Raises ProblemError 400 for a contact that can never be used. (Names are resolved at each delivery.)"""
    field = "contact"
    if not URL_PATTERN.fullmatch(contact) or contact.count("://") > 1:
        raise invalid(field, "The contact is not one URL.", "Write it like mailto://user:password@example.org")
    try:
        parts = urlsplit(contact)
        host = parts.hostname or ""
    except ValueError:
        raise invalid(field, "The contact is not a valid URL.", "Check the part after ://") from None
    scheme = parts.scheme.lower()
    if scheme in WEBHOOK_SCHEMES and len(settings.webhook_secret) < MIN_SECRET:
        raise invalid(field, "Webhooks are signed, and there is no key yet.", "Set alerts.webhook_secret first.")
    if scheme in _LOCAL_SCHEMES:
        raise invalid(field, f"{scheme}:// acts on the server itself.", "Use mailto://, tgram://, ntfy:// or https://")
    keys = {key.lower() for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if keys & _FILE_KEYS:
        raise invalid(field, f"{', '.join(sorted(keys & _FILE_KEYS))} may not be given.", "Leave it out.")
    if not settings.private_contacts and scheme not in _TOKEN_SCHEMES and forbidden_literal(host, _INTERNET):
        raise invalid(field, "The contact lies in a private network.", "Use a public address.")


async def check_reachable(target: str, settings: AlertSettings) -> None:
    """Before each delivery to a person by apprise: every host that the target names is public, as far as it can be
    resolved. Raises ForbiddenTargetError."""
    if settings.private_contacts:
        return
    parts = urlsplit(target)
    hosts = [] if parts.scheme.lower() in _TOKEN_SCHEMES else [parts.hostname or ""]
    hosts += [value for key, value in parse_qsl(parts.query) if key.lower() in _HOST_KEYS]
    for host in filter(None, hosts):
        if forbidden_literal(host, _INTERNET):
            raise ForbiddenTargetError("the contact lies in a private network")
        for address in await _addresses(host):
            if not is_public(address):
                raise ForbiddenTargetError("the contact's name leads into a private network")


AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]


async def look_up(host: str, port: int | None = None, family: int = socket.AF_UNSPEC) -> list[AddressInfo]:
    """As `socket.getaddrinfo`, in a thread of its own that nobody waits for. Raises OSError.

    A name server that does not answer takes half a minute: that must hold neither the few threads that everything else
    in the daemon shares, nor the daemon's end.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[AddressInfo]] = loop.create_future()

    def settle(found: list[AddressInfo], error: Exception | None) -> None:
        if answer.done():
            return  # whoever asked has not waited so long
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def ask() -> None:
        found: list[AddressInfo] = []
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)  # type: ignore[assignment]
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: not a host's name")
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, found, failure)

    threading.Thread(target=ask, name="name lookup", daemon=True).start()
    return await answer


class GuardedResolver(AbstractResolver):
    """Resolves names for a webhook's connection itself, so that no second answer can differ from the checked one."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [
            ResolveResult(
                hostname=host, host=address[0], port=address[1], family=kind, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for kind, _, proto, _, address in await look_up(host, port, family)
            if self._reach.allows(address[0])
        ]
        if not found:
            raise ForbiddenTargetError("the name leads into a private network")
        return found

    async def close(self) -> None:
        pass


def connector(reach: Reach, host: str) -> aiohttp.TCPConnector:
    """For one webhook. Raises ForbiddenTargetError: a literal address is not resolved, so it is checked here."""
    if forbidden_literal(host, reach):
        raise ForbiddenTargetError("the address lies in a private network")
    return aiohttp.TCPConnector(resolver=GuardedResolver(reach), use_dns_cache=False)


def forbidden_literal(host: str, reach: Reach) -> bool:
    """Whether this host is an address, in whatever spelling, or a name of this machine, that must not be reached."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return not (reach.allows("127.0.0.1") or reach.allows("::1"))
    try:
        address = socket.inet_ntoa(socket.inet_aton(host))  # also 127.1 and 2130706433
    except OSError:
        address = host
    return _parsed(address) is not None and not reach.allows(address)


async def _addresses(host: str) -> list[str]:
    """Empty for what is no host: many services put a token there."""
    try:
        found = await look_up(host)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]
