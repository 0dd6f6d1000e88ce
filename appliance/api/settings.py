"""The doors of the API: where it listens, for whom, and every bound on a client, with its reason.

Imports nothing of ours: the settings must be readable without the rest of the daemon.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Place(NamedTuple):
    """Where a TCP door listens."""

    host: str
    port: int


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Raises ValueError for a door that would be open to the world without TLS."""

    listen: Annotated[
        str | None,
        Meta(description="ADDRESS:PORT of a TCP door, as 127.0.0.1:8443 or [::1]:8443; empty: the unix socket only."),
    ] = None
    certificate: Annotated[
        Path | None, Meta(description="TLS certificate of the TCP door with its chain (PEM); renewed while it runs.")
    ] = None
    key: Annotated[Path | None, Meta(description="Private key of the certificate (PEM).")] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Addresses or networks of proxies that end TLS and set X-Forwarded-For; nobody else then."),
    ] = ()
    group: Annotated[str, Meta(description="Group that may use the unix socket, if there is such a group.")] = "amda"
    readers: Annotated[
        tuple[str, ...],
        Meta(description="Local users of that group who may only look: on the unix socket they have the scope read."),
    ] = ()
    connections: Annotated[Count, Meta(description="Connections at the TCP door.")] = 2048
    """One costs some 20 KiB; with the usual limit of open files raised, there is room for twice as many."""
    connections_per_peer: Annotated[
        Count, Meta(description="Of them by one address, proxies excepted (for IPv6: by one /64).")
    ] = 128
    """A back end with a pool of connections and some event streams needs a few dozen."""
    requests_per_s: Annotated[Count, Meta(description="Requests a second of one token, in the long run.")] = 100
    """A screen that polls everything every second for sixty users; the unix socket is not limited."""
    burst: Annotated[Count, Meta(description="Requests that one token may make at once.")] = 300
    failures: Annotated[Count, Meta(description="Wrong tokens from one address before it has to wait.")] = 10
    """A human mistypes a few times; a token has 256 random bits, so what this limits is noise."""
    header_s: Annotated[Seconds, Meta(description="A request's headers must have arrived within this.")] = 10
    body_s: Annotated[Seconds, Meta(description="Its body must have arrived within this.")] = 20
    """64 KiB at 30 kbit/s."""
    idle_s: Annotated[Seconds, Meta(description="A connection without a request is closed after this.")] = 75
    """More than the 60 s for which common proxies keep theirs, so that they close first."""
    stall_s: Annotated[Seconds, Meta(description="A client that takes nothing of its answer for so long is cut.")] = 30
    record_s: Annotated[Seconds, Meta(description="How often what was refused at the doors is written down.")] = 10
    """Together, one row for each kind and address; each time costs a write to the disk."""
    audit_days: Annotated[Count, Meta(description="Entries of the audit older than this are deleted.")] = 365

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together; give both or none")
        self.networks()
        place = self.place()
        if place is None or self.certificate is not None or self.trusted_proxies:
            return
        if not ipaddress.ip_address(place.host).is_loopback:
            raise ValueError(
                f"listen: {place.host} can be reached from elsewhere, and tokens must not travel in clear text; "
                "give certificate and key, or trusted_proxies, or listen on 127.0.0.1"
            )

    def place(self) -> Place | None:
        """`listen` in parts; None: no TCP door. Raises ValueError."""
        if not self.listen:
            return None
        host, _, port = self.listen.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
            number = int(port)
        except ValueError:
            raise ValueError("listen: expected ADDRESS:PORT, as 127.0.0.1:8443 or [::1]:8443") from None
        if not 0 <= number < 1 << 16:
            raise ValueError("listen: a port is a number up to 65535")
        return Place(str(address), number)

    def networks(self) -> tuple[Network, ...]:
        """`trusted_proxies` as networks. Raises ValueError."""
        try:
            return tuple(ipaddress.ip_network(text) for text in self.trusted_proxies)
        except ValueError as error:
            raise ValueError(f"trusted_proxies: {error}; write addresses or networks, as 10.0.0.0/8") from None
