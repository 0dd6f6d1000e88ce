"""The real engine in a process of its own, driven by JSON lines: commands on stdin, events on the descriptor given.

Run by the tests of the staging network with SSL_CERT_FILE set. It uses neonize's own asyncio client, so that the
network is proved against the engine and not against our adapter of it.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pylibmagic  # noqa: F401 - the engine's Python part looks for libmagic

LIBRARY, PROXY, STORE, EVENTS_FD = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

_open_library = ctypes.CDLL


def _patched(name: str, *args: Any, **kwargs: Any) -> ctypes.CDLL:
    engine = isinstance(name, str) and Path(name).name.startswith("neonize-linux-")
    return _open_library(LIBRARY if engine else name, *args, **kwargs)


ctypes.CDLL = _patched  # type: ignore[misc, assignment]

import neonize.events as all_events  # noqa: E402
from neonize.aioze import client as aio_client  # noqa: E402
from neonize.aioze import events  # noqa: E402
from neonize.client import ProxySettings  # noqa: E402
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message  # noqa: E402
from neonize.utils.enum import ClientName, ClientType, Presence  # noqa: E402
from neonize.utils.jid import build_jid  # noqa: E402

events.event_global_loop = None
_out = os.fdopen(EVENTS_FD, "w", buffering=1)


def tell(event: str, **data: Any) -> None:
    _out.write(json.dumps({"event": event, **data}) + "\n")


def unwrap(message: Message) -> Message:
    for name in (
        "deviceSentMessage",
        "ephemeralMessage",
        "viewOnceMessage",
        "viewOnceMessageV2",
        "viewOnceMessageV2Extension",
        "documentWithCaptionMessage",
    ):
        if message.HasField(name):
            return unwrap(getattr(message, name).message)
    return message


class Driver:
    def __init__(self) -> None:
        self.client = aio_client.NewAClient(
            f"{STORE}/device.db?_journal_mode=WAL&_synchronous=0&_foreign_keys=on&_x=1", uuid="driver"
        )
        self.pending: set[asyncio.Task[None]] = set()

    def register(self) -> None:
        client = self.client
        client._NewAClient__onLoginStatus = lambda _uuid, status: tell(
            "login_status", status=ctypes.string_at(status).decode()
        )

        @client.event.qr
        async def qr(_client: Any, data: bytes) -> None:
            tell("qr", text=data.decode())

        simple = {
            "connected": events.ConnectedEv,
            "disconnected": events.DisconnectedEv,
            "logged_out": events.LoggedOutEv,
            "replaced": events.StreamReplacedEv,
            "ban": events.TemporaryBanEv,
            "outdated": events.ClientOutdatedEv,
            "connect_failure": events.ConnectFailureEv,
            "stream_error": events.StreamErrorEv,
            "keepalive_timeout": events.KeepAliveTimeoutEv,
            "offline_synced": events.OfflineSyncCompletedEv,
        }
        for name, kind in simple.items():
            client.event(kind)(self.teller(name))
        client.event(events.MessageEv)(self.on_message)
        client.event(events.ReceiptEv)(self.on_receipt)
        client.event(all_events.UndecryptableMessageEv)(self.on_undecryptable)

    @staticmethod
    def teller(name: str) -> Any:
        async def handler(_client: Any, event: Any) -> None:
            tell(name, detail=str(event).replace("\n", " ")[:300])

        return handler

    async def on_receipt(self, _client: Any, event: Any) -> None:
        tell("receipt", ids=list(event.MessageIDs), type=str(event.Type))

    async def on_undecryptable(self, _client: Any, event: Any) -> None:
        tell("undecryptable", id=event.Info.ID, unavailable=event.IsUnavailable)

    async def on_message(self, client: Any, event: Any) -> None:
        source = event.Info.MessageSource
        message = unwrap(event.Message)
        data: dict[str, Any] = {
            "id": event.Info.ID,
            "chat": f"{source.Chat.User}@{source.Chat.Server}",
            "from_me": source.IsFromMe,
            "sender": f"{source.Sender.User}@{source.Sender.Server}",
            "group": source.IsGroup,
            "edit": event.Info.Edit,
            "view_once": event.IsViewOnce,
            "fields": [f.name for f, _ in message.ListFields()],
            "text": message.conversation or message.extendedTextMessage.text,
        }
        if message.HasField("protocolMessage"):
            data["protocol"] = message.protocolMessage.type
            data["revoked"] = message.protocolMessage.key.ID
        quoted = unwrap(message.extendedTextMessage.contextInfo.quotedMessage)
        content = quoted if quoted.ListFields() else message
        if content.HasField("ptvMessage"):
            content = Message(videoMessage=content.ptvMessage)
        if any(f.name.endswith("Message") and hasattr(v, "mediaKey") for f, v in content.ListFields()):
            try:
                plain = await client.download_any(content)
                data["sha256"], data["size"] = hashlib.sha256(plain).hexdigest(), len(plain)
            except Exception as error:
                data["download_error"] = str(error)
        tell("message", **data)

    async def do(self, command: dict[str, Any]) -> Any:
        client = self.client
        match command["do"]:
            case "connect":
                task = await client.connect(ProxySettings(proxy_address=PROXY))
                task.add_done_callback(lambda t: tell("ended", error=repr(t.exception()) if not t.cancelled() else ""))
            case "pair_code":
                return await client.PairPhone(
                    command["phone"],
                    show_push_notification=True,
                    client_name=ClientName.LINUX,
                    client_type=ClientType.CHROME,
                )
            case "send_text":
                user, _, server = command["to"].partition("@")
                response = await client.send_message(build_jid(user, server or "s.whatsapp.net"), command["text"])
                return response.ID
            case "send_image":
                user, _, server = command["to"].partition("@")
                response = await client.send_image(build_jid(user, server or "s.whatsapp.net"), command["path"])
                return response.ID
            case "send_document":
                user, _, server = command["to"].partition("@")
                response = await client.send_document(
                    build_jid(user, server or "s.whatsapp.net"), command["path"], filename="a.bin"
                )
                return response.ID
            case "presence":
                await client.send_presence(Presence[command["value"]])
            case "probe":
                await client.get_blocklist()
            case "logout":
                await client.logout()
            case "mark_read":
                user, _, server = command["chat"].partition("@")
                jid = build_jid(user, server)
                from neonize.utils.enum import ReceiptType

                await client.mark_read(command["message_id"], chat=jid, sender=jid, receipt=ReceiptType.READ)
            case "call":
                return str(await getattr(client, command["method"])())
        return None

    async def answer(self, command: dict[str, Any]) -> None:
        try:
            tell("answer", id=command["id"], result=await self.do(command))
        except BaseException as error:
            tell("answer", id=command["id"], error=f"{type(error).__name__}: {error}")

    async def run(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16))
        self.register()
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        tell("started", pid=os.getpid())
        while line := await reader.readline():
            task = asyncio.get_running_loop().create_task(self.answer(json.loads(line)))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)
        os._exit(0)  # Go threads would hold an orderly exit up


asyncio.run(Driver().run())
