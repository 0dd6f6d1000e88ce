"""Client of a running staging network: what tests, benches and `amda staging` use."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import aiohttp
import msgspec

from appliance.staging import control_types as ct
from appliance.staging.errors import NotRunningError, RequestError

T = TypeVar("T", bound=msgspec.Struct)
REQUEST_TIMEOUT_S: Final = 60.0
"""For requests that do not wait by themselves; a thousand pictures in one request take some seconds."""
POLL_S: Final = 20.0
"""One long poll for the journal; the next one follows without a gap."""


def read_info(folder: Path) -> ct.NetworkInfo:
    """What the network in a folder has written when it was ready. Raises NotRunningError."""
    try:
        return msgspec.json.decode((folder / ct.INFO_FILE).read_bytes(), type=ct.NetworkInfo)
    except FileNotFoundError:
        raise NotRunningError(f"no staging network runs in {folder}; start it: amda staging run") from None


class StagingClient:
    """Talks to the network whose folder is given; use it as an asynchronous context manager.

    Every method raises RequestError for what the network refuses, and NotRunningError if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._directory: int | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        try:
            self._directory = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise NotRunningError(f"{self._folder}: {error.strerror}") from None
        # Through the descriptor, because paths of sockets are limited to 108 bytes.
        connector = aiohttp.UnixConnector(f"/proc/self/fd/{self._directory}/control.sock")
        self._http = aiohttp.ClientSession(connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    async def _call(self, operation: str, request: msgspec.Struct, answer: type[T], wait_s: float = 0.0) -> T:
        if self._http is None:
            raise NotRunningError("the client is not open; write: async with StagingClient(folder) as client")
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S + wait_s)
        try:
            async with self._http.post(
                f"http://staging/{operation}", data=msgspec.json.encode(request), timeout=timeout
            ) as response:
                body = await response.read()
        except aiohttp.ClientError as error:
            raise NotRunningError(f"no staging network answers in {self._folder}: {error}") from None
        if response.status != 200:
            raise RequestError(msgspec.json.decode(body, type=ct.Refusal).error)
        return msgspec.json.decode(body, type=answer)

    # ---- the network

    async def info(self) -> ct.NetworkInfo:
        return await self._call("info", ct.Nothing(), ct.NetworkInfo)

    async def add_engine(self, folder: Path) -> ct.EngineCopy:
        """A copy of another engine's library that trusts this network."""
        return await self._call("add_engine", ct.AddEngine(folder=str(folder)), ct.EngineCopy)

    async def stats(self) -> ct.Stats:
        return await self._call("stats", ct.Nothing(), ct.Stats)

    async def journal(
        self,
        *,
        after: int = 0,
        kinds: list[ct.JournalKind] | None = None,
        account: str = "",
        device: int | None = None,
        message_id: str = "",
        data: dict[str, str | int | float | bool] | None = None,
        limit: int = 1000,
        wait_s: float = 0.0,
    ) -> list[ct.JournalEntry]:
        """Entries with a number above `after` that match all that is given, oldest first, at most `limit`.

        With `wait_s`, an answer without entries comes only after that time.
        """
        query = ct.JournalQuery(
            after=after,
            kinds=kinds or [],
            account=account,
            device=device,
            message_id=message_id,
            data=data or {},
            limit=limit,
            wait_s=wait_s,
        )
        return (await self._call("journal", query, ct.JournalPage, wait_s)).entries

    async def whole_journal(
        self, *, after: int = 0, kinds: list[ct.JournalKind] | None = None, account: str = ""
    ) -> list[ct.JournalEntry]:
        """As `journal`, without a limit."""
        found: list[ct.JournalEntry] = []
        while page := await self.journal(after=after, kinds=kinds, account=account, limit=10_000):
            found += page
            after = page[-1].seq
        return found

    async def wait_for(
        self,
        kind: ct.JournalKind,
        *,
        account: str = "",
        device: int | None = None,
        message_id: str = "",
        after: int = 0,
        timeout_s: float = 30.0,
        **data: str | int | float | bool,
    ) -> ct.JournalEntry:
        """The first entry of a kind with a number above `after`, whose data holds `data`; waits for it.

        Raises TimeoutError after `timeout_s`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            wait_s = max(0.0, min(POLL_S, deadline - loop.time()))
            query = ct.JournalQuery(
                after=after,
                kinds=[kind],
                account=account,
                device=device,
                message_id=message_id,
                data=data,
                limit=1,
                wait_s=wait_s,
            )
            page = await self._call("journal", query, ct.JournalPage, wait_s)
            if page.entries:
                return page.entries[0]
            if loop.time() >= deadline:
                raise TimeoutError(f"no {kind.value} in the staging network's journal within {timeout_s:g} s")
            after = page.last

    async def last(self) -> int:
        """Number of the newest journal entry."""
        return (await self._call("journal", ct.JournalQuery(limit=1), ct.JournalPage)).last

    async def captures_due(self, account: str) -> list[ct.CaptureDue]:
        """What a perfect appliance has stored for the account by now."""
        return (await self._call("captures_due", ct.AccountOnly(account=account), ct.CapturesDue)).captures

    # ---- accounts and linking

    async def accounts(self) -> list[ct.AccountView]:
        return (await self._call("accounts", ct.Nothing(), ct.Accounts)).accounts

    async def account(self, phone: str) -> ct.AccountView | None:
        return next((account for account in await self.accounts() if account.phone == phone.lstrip("+")), None)

    async def add_account(self, request: ct.AddAccount) -> ct.AccountView:
        return await self._call("add_account", request, ct.AccountView)

    async def type_code(self, phone: str, code: str, *, now: bool = False) -> ct.TypeCodeResult:
        """Hand the phone the code that its user is shown; what it does with it is its typing plan."""
        return await self._call("type_code", ct.TypeCode(phone=phone, code=code, now=now), ct.TypeCodeResult)

    async def scan_qr(self, phone: str, text: str) -> None:
        await self._call("scan_qr", ct.ScanQr(phone=phone, text=text), ct.Nothing)

    async def wait_online(self, phone: str, *, after: int = 0, timeout_s: float = 30.0) -> ct.JournalEntry:
        """Until a device of the account has logged in and is ready; `after` excludes earlier logins."""
        return await self.wait_for(ct.JournalKind.READY, account=phone.lstrip("+"), after=after, timeout_s=timeout_s)

    async def unlink(self, account: str, device: int | None = None) -> None:
        await self._call("unlink", ct.Unlink(account=account, device=device), ct.Nothing)

    async def push_name(self, account: str, name: str) -> None:
        await self._call("push_name", ct.PushName(account=account, name=name), ct.Nothing)

    # ---- messages

    async def send(self, request: ct.Send) -> list[str]:
        return (await self._call("send", request, ct.Sent)).ids

    async def own_phone_send(self, account: str, request: ct.Send) -> list[str]:
        """The account's own phone writes: `request` with the account as its author."""
        return await self.send(msgspec.structs.replace(request, account=account, contact=account))

    async def revoke(self, account: str, message_id: str) -> str:
        return (await self._call("revoke", ct.Revoke(account=account, message_id=message_id), ct.Sent)).ids[0]

    async def reply_trigger(self, account: str, message_id: str, text: str = ".vv", *, wrapped: bool = False) -> str:
        """The own phone answers a message, quoting it: how a user asks the appliance for a view-once."""
        request = ct.Reply(account=account, message_id=message_id, text=text, wrapped=wrapped)
        return (await self._call("reply", request, ct.Sent)).ids[0]

    async def receipt(self, account: str, contact: str, message_id: str, kind: str = "read") -> None:
        request = ct.Receipt(account=account, contact=contact, message_id=message_id, type=kind)
        await self._call("receipt", request, ct.Nothing)

    async def start_traffic(self, request: ct.Traffic) -> str:
        return (await self._call("start_traffic", request, ct.TrafficId)).id

    async def traffic(self, identifier: str) -> ct.TrafficState:
        return await self._call("traffic", ct.TrafficId(id=identifier), ct.TrafficState)

    async def wait_traffic(self, identifier: str, timeout_s: float) -> ct.TrafficState:
        """Until a generator has sent everything. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            wait_s = max(0.0, min(POLL_S, deadline - loop.time()))
            state = await self._call("traffic", ct.TrafficId(id=identifier, wait_s=wait_s), ct.TrafficState, wait_s)
            if not state.running:
                return state
            if loop.time() >= deadline:
                raise TimeoutError(f"{state.sent} messages sent, and still not done after {timeout_s:g} s")

    async def stop_traffic(self, identifier: str) -> ct.TrafficState:
        return await self._call("stop_traffic", ct.TrafficId(id=identifier), ct.TrafficState)

    # ---- faults

    async def set_fault(self, request: ct.SetFault) -> ct.FaultView:
        return await self._call("set_fault", request, ct.FaultView)

    async def faults(self) -> list[ct.FaultView]:
        return (await self._call("faults", ct.Nothing(), ct.FaultList)).faults

    async def clear_faults(self, identifier: int | None = None) -> None:
        await self._call("clear_faults", ct.ClearFaults(id=identifier), ct.Nothing)
