"""The control socket: every request is one POST with one JSON struct, see control_types.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web

from appliance.sockets import bind_unix, remove_socket
from appliance.staging import control_types as ct
from appliance.staging import stanzas
from appliance.staging.accounts import Account, digits_of, lid_of
from appliance.staging.captures import captures_due
from appliance.staging.codec.binary_xml import Node
from appliance.staging.codec.jid import LID, Jid
from appliance.staging.delivery import Pending
from appliance.staging.errors import LibraryError, RequestError

if TYPE_CHECKING:
    from appliance.staging.network import Network

_log: Final = structlog.get_logger(__name__)
MAX_WAIT_S: Final = 600.0
"""The longest that one request may wait for the journal."""

_Handler = Callable[[Any], Awaitable[msgspec.Struct]]


class Control:
    """Serves the control socket of one network. Nobody but the socket's owner can connect."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._runner: web.AppRunner | None = None
        self._path: Path | None = None
        self.ready = asyncio.Event()
        """Requests wait for it: the socket is there before the network is, because it is the lock of the folder."""
        self._table: dict[str, tuple[type[msgspec.Struct], _Handler]] = {
            "info": (ct.Nothing, self._info),
            "stats": (ct.Nothing, self._stats),
            "add_engine": (ct.AddEngine, self._add_engine),
            "accounts": (ct.Nothing, self._accounts),
            "add_account": (ct.AddAccount, self._add_account),
            "type_code": (ct.TypeCode, self._type_code),
            "scan_qr": (ct.ScanQr, self._scan_qr),
            "send": (ct.Send, self._send),
            "revoke": (ct.Revoke, self._revoke),
            "reply": (ct.Reply, self._reply),
            "receipt": (ct.Receipt, self._receipt),
            "push_name": (ct.PushName, self._push_name),
            "unlink": (ct.Unlink, self._unlink),
            "start_traffic": (ct.Traffic, self._start_traffic),
            "traffic": (ct.TrafficId, self._traffic),
            "stop_traffic": (ct.TrafficId, self._stop_traffic),
            "set_fault": (ct.SetFault, self._set_fault),
            "faults": (ct.Nothing, self._faults),
            "clear_faults": (ct.ClearFaults, self._clear_faults),
            "journal": (ct.JournalQuery, self._journal),
            "captures_due": (ct.AccountOnly, self._captures_due),
        }

    async def start(self, path: Path) -> None:
        """Listen. Raises PeerError if another network does so at this path."""
        sock = bind_unix(path)
        self._path = path
        app = web.Application()
        app.router.add_post("/{operation}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._path is not None:
            remove_socket(self._path)

    async def _handle(self, request: web.Request) -> web.Response:
        entry = self._table.get(request.match_info["operation"])
        if entry is None:
            return _answer(ct.Refusal(error=f"no operation {request.match_info['operation']!r}"), 404)
        kind, handler = entry
        await self.ready.wait()
        try:
            body = msgspec.json.decode(await request.read() or b"{}", type=kind)
            result = await handler(body)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return _answer(ct.Refusal(error=str(error)), 400)
        except RequestError as error:
            return _answer(ct.Refusal(error=str(error)), 422)
        self._network.store.flush()
        return _answer(result, 200)

    # ---- the network

    async def _info(self, _: ct.Nothing) -> ct.NetworkInfo:
        return self._network.info

    async def _stats(self, _: ct.Nothing) -> ct.Stats:
        return self._network.stats()

    async def _add_engine(self, request: ct.AddEngine) -> ct.EngineCopy:
        try:
            return ct.EngineCopy(library=str(await self._network.add_engine(Path(request.folder))))
        except (LibraryError, OSError) as error:
            raise RequestError(str(error)) from error

    async def _journal(self, request: ct.JournalQuery) -> ct.JournalPage:
        wait_s = min(max(request.wait_s, 0.0), MAX_WAIT_S)
        return await self._network.journal.wait(msgspec.structs.replace(request, wait_s=wait_s))

    async def _captures_due(self, request: ct.AccountOnly) -> ct.CapturesDue:
        account = self._network.directory.require(request.account)
        return ct.CapturesDue(captures=captures_due(self._network.store, account.phone))

    async def _set_fault(self, request: ct.SetFault) -> ct.FaultView:
        if request.account:
            request = msgspec.structs.replace(request, account=digits_of(request.account, "account"))
        return self._network.strikes.set(request).view()

    async def _faults(self, _: ct.Nothing) -> ct.FaultList:
        return ct.FaultList(faults=[fault.view() for fault in self._network.faults.active()])

    async def _clear_faults(self, request: ct.ClearFaults) -> ct.Nothing:
        self._network.strikes.clear(request.id)
        return ct.Nothing()

    # ---- accounts

    def _view(self, account: Account) -> ct.AccountView:
        devices = []
        for number, device in account.devices.items():
            session = self._network.sessions.get((account.phone, number))
            devices.append(
                ct.DeviceView(
                    number=number,
                    linked_at=device.linked_at,
                    online=session is not None and session.ready,
                    pending=self._network.delivery.pending(account.phone, number),
                    connection=session.connection.number if session is not None else None,
                )
            )
        return ct.AccountView(
            phone=account.phone, lid=account.lid, name=account.name, plan=account.plan, devices=devices
        )

    async def _accounts(self, _: ct.Nothing) -> ct.Accounts:
        return ct.Accounts(accounts=[self._view(account) for account in self._network.directory.accounts()])

    async def _add_account(self, request: ct.AddAccount) -> ct.AccountView:
        return self._view(self._network.directory.add(request))

    async def _type_code(self, request: ct.TypeCode) -> ct.TypeCodeResult:
        digits_of(request.phone, "phone")
        return await self._network.phone.type_code(request)

    async def _scan_qr(self, request: ct.ScanQr) -> ct.Nothing:
        digits_of(request.phone, "phone")
        self._network.phone.scan_qr(request)
        return ct.Nothing()

    async def _push_name(self, request: ct.PushName) -> ct.Nothing:
        self._network.phone.set_name(request)
        return ct.Nothing()

    async def _unlink(self, request: ct.Unlink) -> ct.Nothing:
        self._network.phone.unlink(request)
        return ct.Nothing()

    # ---- messages

    async def _send(self, request: ct.Send) -> ct.Sent:
        return ct.Sent(ids=await self._network.sending.send(request))

    async def _revoke(self, request: ct.Revoke) -> ct.Sent:
        return ct.Sent(ids=[self._network.sending.revoke(request)])

    async def _reply(self, request: ct.Reply) -> ct.Sent:
        return ct.Sent(ids=[self._network.phone.reply(request)])

    async def _receipt(self, request: ct.Receipt) -> ct.Nothing:
        account = self._network.directory.require(request.account)
        contact = digits_of(request.contact, "contact")
        attrs: stanzas.Attrs = {
            "from": Jid(lid_of(contact), LID),
            "id": request.message_id,
            "type": request.type,
            "t": stanzas.now(),
        }
        for number in account.devices:
            pending = Pending(
                account=account.phone,
                device=number,
                stanza_id=request.message_id,
                stanza=b"",
                placeholder=True,
                about="receipt",
            )
            self._network.delivery.post_node(Node("receipt", attrs), pending)
        return ct.Nothing()

    async def _start_traffic(self, request: ct.Traffic) -> ct.TrafficId:
        return ct.TrafficId(id=self._network.traffic.start(request))

    async def _traffic(self, request: ct.TrafficId) -> ct.TrafficState:
        return await self._network.traffic.wait(request.id, min(max(request.wait_s, 0.0), MAX_WAIT_S))

    async def _stop_traffic(self, request: ct.TrafficId) -> ct.TrafficState:
        return self._network.traffic.end(request.id)


def _answer(body: msgspec.Struct, status: int) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")
