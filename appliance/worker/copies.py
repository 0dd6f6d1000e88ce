"""Sends what was captured to the account's own chat as well, if its owner wants that; one at a time, never for ever.

What waits are links to spooled files beside them, so that neither a restart nor the daemon's taking them away matters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from appliance.model import Category, MediaKind
from appliance.protocol import SpoolItem
from appliance.worker.engine.calls import EngineBusyError, EngineTimeoutError
from appliance.worker.engine.library import EngineError
from appliance.worker.engine.outgoing import SELF, OutgoingFile, RecipientError

DATA: Final = ".copy"
NOTE: Final = ".copy-of"
"""Suffixes; the note is an item's description."""
MAX_BYTES: Final = 16 * 1024 * 1024
"""A file is read into memory to be sent; of a larger one only the caption is."""
MAX_WAITING: Final = 200
"""More than that is a flood; what comes on top is stored, but not sent."""
TRIES: Final = 3
RETRY_S: Final = 30.0
PAUSE_S: Final = 1.0
"""Between two copies: a user who types as fast as a machine looks like one."""
_WORDS: Final = {
    Category.STATUS.value: "Status",
    Category.DELETED.value: "Deleted message",
    Category.VIEW_ONCE.value: "View once",
}
_CAPTIONED: Final = frozenset({MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.DOCUMENT})
_ITEM: Final = msgspec.json.Decoder(SpoolItem)


class Sender(Protocol):
    """What is needed of the engine."""

    async def send_text(self, to: str, text: str) -> str: ...
    async def send_file(self, to: str, file: OutgoingFile) -> str: ...


def caption(item: SpoolItem) -> str:
    """What it is, from whom, and when (local time).

    >>> caption(SpoolItem(item="i", session="s", category="statuses", kind=MediaKind.IMAGE, mimetype="", sha256="",
    ...     size=1, message_id="M", chat="status@broadcast", sender="1@lid", sender_alt="221771234512@s.whatsapp.net",
    ...     sent_at=0.0, captured_at=0.0, caption="hi")).splitlines()[:2]
    ['Status (image)', 'From +221771234512']
    """
    known = next((jid for jid in (item.sender, item.sender_alt) if jid.endswith("@s.whatsapp.net")), "")
    sender = f"+{known.partition('@')[0]}" if known else item.sender
    lines = [f"{_WORDS.get(item.category, item.category)} ({item.kind.value})", f"From {sender}"]
    if item.chat.endswith("@g.us"):
        lines.append(f"In group {item.chat}")
    lines.append(time.strftime("Sent %Y-%m-%d %H:%M", time.localtime(item.sent_at)))
    return "\n".join(lines + ([item.caption] if item.caption else []))


class Copies:
    """`run()` works until cancelled, while `connected`."""

    def __init__(self, spool: Path, sender: Sender, write_log: Callable[[str, str], None]) -> None:
        self._folder = spool
        self._sender = sender
        self._write_log = write_log
        self._wake = asyncio.Event()
        self._connected = asyncio.Event()
        self._failures: dict[str, int] = {}

    def connected(self, *, now: bool) -> None:
        if now:
            self._connected.set()
            self._wake.set()  # what was left when the connection was lost
        else:
            self._connected.clear()

    def add(self, item: SpoolItem, data: Path) -> None:
        """Have a spooled item sent; `data` may be taken away afterwards. In any thread; `wake` follows."""
        try:
            if len(self._waiting()) >= MAX_WAITING:
                return
            with contextlib.suppress(FileExistsError):
                if item.size <= MAX_BYTES:  # of a larger one nothing but its description waits
                    os.link(data, self._folder / f"{item.item}{DATA}")
            (self._folder / f"{item.item}{NOTE}").write_bytes(msgspec.json.encode(item))
        except OSError as error:  # taken meanwhile, no room: it is stored all the same
            self._write_log("WARN", f"no copy is sent: {error.strerror}")

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._connected.wait()
            self._wake.clear()
            for name in self._waiting():
                if not self._connected.is_set():
                    break
                await self._send(name)
                await asyncio.sleep(PAUSE_S)
            timeout = RETRY_S if self._failures else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), timeout)

    def _waiting(self) -> list[str]:
        """Names, oldest first."""
        aged = []
        for name in os.listdir(self._folder):  # noqa: PTH208 - as in `Held`
            if name.endswith(NOTE):
                with contextlib.suppress(FileNotFoundError):  # sent just now, while another thread looks
                    aged.append(((self._folder / name).lstat().st_mtime, name.removesuffix(NOTE)))
        return [name for _, name in sorted(aged)]

    async def _send(self, name: str) -> None:
        try:
            await self._send_item(name)
        except (EngineError, EngineTimeoutError, EngineBusyError, RecipientError) as error:
            self._failures[name] = self._failures.get(name, 0) + 1
            self._write_log("WARN", f"a copy could not be sent ({self._failures[name]}/{TRIES}): {error}")
            if self._failures[name] < TRIES:
                return
        except (OSError, msgspec.DecodeError) as error:
            self._write_log("WARN", f"a copy could not be read: {type(error).__name__}")
        self._failures.pop(name, None)
        for suffix in (NOTE, DATA):
            with contextlib.suppress(OSError):
                (self._folder / f"{name}{suffix}").unlink()

    async def _send_item(self, name: str) -> None:
        item = _ITEM.decode((self._folder / f"{name}{NOTE}").read_bytes())
        data, told = self._folder / f"{name}{DATA}", caption(item)
        if item.kind is MediaKind.TEXT:
            await self._sender.send_text(SELF, f"{told}\n\n{data.read_text('utf-8', 'replace')}")
        elif item.size > MAX_BYTES:
            await self._sender.send_text(SELF, f"{told}\n({item.size} bytes: stored, too large to send)")
        else:
            captioned = item.kind in _CAPTIONED
            file = OutgoingFile(path=data, kind=item.kind, mimetype=item.mimetype, caption=told if captioned else "")
            await self._sender.send_file(SELF, file)
            if not captioned:
                await self._sender.send_text(SELF, told)
