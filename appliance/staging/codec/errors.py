"""The one error of the codecs, so that a server can close a connection on bad input with a single `except`."""

from __future__ import annotations


class DecodeError(ValueError):
    """The bytes are not what the format allows. `offset` is where reading stopped, in bytes from the start."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset}")
        self.reason = reason
        self.offset = offset
