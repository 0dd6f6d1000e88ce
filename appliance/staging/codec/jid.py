"""Addresses of WhatsApp: who, on which server, on which of his devices.

A value type of its own because the client compares addresses as JIDs, never as text: a plain string in their place does
not match.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

S_WHATSAPP_NET: Final = "s.whatsapp.net"
"""Accounts by phone number; without a user, the server itself."""
LID: Final = "lid"
"""Accounts by the number that hides their phone number."""
G_US: Final = "g.us"
BROADCAST: Final = "broadcast"
HOSTED: Final = "hosted"
HOSTED_LID: Final = "hosted.lid"
MESSENGER: Final = "msgr"
INTEROP: Final = "interop"

MAX_DEVICE: Final = 0xFFFF
"""Device numbers are 8 bits wide in most encodings and 16 in the widest."""


@dataclass(frozen=True, slots=True)
class Jid:
    """`user@server`, `user:device@server`, or `server` alone when the user is empty. Device 0 is the phone."""

    user: str
    server: str
    device: int = 0

    def __post_init__(self) -> None:
        if not self.server:
            raise ValueError("server: a JID needs one, for example s.whatsapp.net")
        if not 0 <= self.device <= MAX_DEVICE:
            raise ValueError(f"device: {self.device} is not between 0 and {MAX_DEVICE}")
        if self.device and not self.user:
            raise ValueError(f"device: {self.device} of nobody; a user is missing")

    @classmethod
    def parse(cls, text: str) -> Jid:
        """Read the form that `str()` writes; the agent of `user.agent:device@server` is dropped.

        Raises ValueError if it is no JID.
        """
        local, at, server = text.rpartition("@")
        if not at:
            return cls("", text)
        user, colon, device = local.partition(":")
        if not colon:
            return cls(user, server)
        if not (device.isascii() and device.isdigit()):
            raise ValueError("device: not a number; write user:device@server")
        return cls(user.partition(".")[0], server, int(device))

    def __str__(self) -> str:
        if not self.user:
            return self.server
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}"

    @property
    def bare(self) -> Jid:
        """The account, without the device."""
        return replace(self, device=0) if self.device else self


SERVER: Final = Jid("", S_WHATSAPP_NET)
"""What the server calls itself in `from`."""
STATUS: Final = Jid("status", BROADCAST)
"""The chat in which statuses are sent."""
