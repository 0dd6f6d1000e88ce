"""One WhatsApp account through the engine, in terms of our own.

The engine calls back from threads of its own. Messages are handed to `record` right there, before the callback returns;
everything else is moved to the event loop and delivered in order, one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from google.protobuf.message import DecodeError

from appliance.protocol import EngineState, HistoryLimits, SignalKind
from appliance.worker.engine import outgoing
from appliance.worker.engine.calls import BoundedCalls, EngineBusyError, EngineTimeoutError
from appliance.worker.engine.decode import DecodeFailedError, id_of
from appliance.worker.engine.events import (
    Account,
    EngineEvent,
    EngineLost,
    EngineSignal,
    LoginStatus,
    MediaRef,
    QrCode,
    RawKind,
)
from appliance.worker.engine.first_login import FirstLogin
from appliance.worker.engine.gate import ReceiptGate
from appliance.worker.engine.library import EngineError, Library, bytes_at, text_at
from appliance.worker.engine.log_tap import LogTap, TrafficTimes
from appliance.worker.engine.protos import neonize_pb
from appliance.worker.engine.rewind import DecryptionMark, Rewound
from appliance.worker.engine.translate import CLOSING, REFUSING, SUBSCRIPTIONS, translate

DATABASE: Final = "device.db"
_DATABASE_OPTIONS: Final = "_journal_mode=WAL&_synchronous=1&_busy_timeout=10000&_cache_size=-64&_foreign_keys=on&_x=1"
"""Options of go-sqlite3. `_synchronous=1` (NORMAL) halves linking, which is 812 transactions; what a power cut may take
from this file, WhatsApp sends again. `_cache_size=-64` (KiB): the kernel holds the file's pages anyway, and each worker
would keep them a second time (0.1 MiB). The last one swallows the `?_foreign_keys=on` that neonize appends."""
CLIENT: Final = b"worker"
"""Name of the one client of this process inside the engine."""
QR_SIGNAL_S: Final = 30.0
"""From connecting to the server's `pair-device`: normally half a second; a dial that takes longer is a failed one."""
PAIR_PHONE_S: Final = 30.0
LOGOUT_S: Final = 20.0
FIRST_LOGIN_S: Final = 9.0
"""Only a device that is logged in can be unlinked; one that was accepted a moment ago is within a second or two. Less
than whoever asks for it waits (`keepalive.logout_timeout_s`)."""
STOP_S: Final = 5.0
PRESENCE_S: Final = 10.0
SEND_S: Final = 90.0
"""The engine itself gives up after 75 s without an acknowledgement, and says so."""
_RAW_CODES: Final = frozenset(RawKind)

Record = Callable[[RawKind, str, str, bytes], bool]
"""(kind, message id, hint, raw event) → whether it is on disk; called in the engine's thread."""


class Engine:
    """Drives the opened library. Every coroutine may raise EngineError (the engine's own words), EngineTimeoutError and
    EngineBusyError."""

    def __init__(
        self,
        *,
        library: Library,
        store_folder: Path,
        history: HistoryLimits,
        record: Record,
        on_recorded: Callable[[], None],
        on_event: Callable[[EngineEvent], None],
        write_log: Callable[[str, str], None],
        on_lag: Callable[[float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_recorded`, `on_event` and `on_lag` (of what was due at this monotonic time) are called in the event loop,
        `write_log(level, text)` in any thread."""
        self._library = library
        self._folder = store_folder
        self._history = history
        self._record = record
        self._on_recorded = on_recorded
        self._on_event = on_event
        self._write_log = write_log
        self._on_lag = on_lag
        self._clock = clock
        self._mark = DecryptionMark(store_folder / DATABASE)
        self._first_login = FirstLogin()
        self._gate = ReceiptGate(self._mark)
        self._tap = LogTap(
            gate=self._gate, first_login=self._first_login, write=write_log, on_lost=self._lost, clock=clock
        )
        self._calls = BoundedCalls()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._send_lock = asyncio.Lock()
        self._probing = False
        self._qr_seen = asyncio.Event()
        self._qr: QrCode | None = None
        self._qr_index = 0
        self._ended = asyncio.Event()
        self._stopping = False
        self._connected = asyncio.Event()
        """Logged in at least once."""
        self.state = EngineState.STARTING
        self.connected_at: float | None = None
        self.account: Account | None = None
        self.last_message_at: float | None = None
        self.presence_sent = False

    @property
    def version(self) -> str:
        return self._library.version

    @property
    def times(self) -> TrafficTimes:
        """When frames, pings and answers were seen."""
        return self._tap.times

    # ---- connecting ----

    def start(self, proxy: str | None, known_ids: list[str]) -> None:
        """Connect in a thread of its own. `known_ids`: messages that former processes recorded. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._gate.remember(known_ids)
        self.state = EngineState.CONNECTING
        rewound = self._mark.rewind()
        if rewound is not Rewound.NOTHING:
            self._write_log("WARN", f"the last process was killed while it decrypted; taking back: {rewound.value}")
        fd = os.open(self._folder / DATABASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(fd)
        self._mark.open()
        threading.Thread(target=self._connect, args=(proxy,), name="engine", daemon=True).start()

    def _connect(self, proxy: str | None) -> None:
        try:
            error = self._library.connect(
                client=CLIENT,
                database=f"{quote(str(self._folder / DATABASE))}?{_DATABASE_OPTIONS}",
                on_qr=self._qr_callback,
                on_login=self._login_callback,
                on_event=self._event_callback,
                on_log=self._log_callback,
                subscriptions=SUBSCRIPTIONS,
                device_props=outgoing.device_props(self._history),
                proxy=proxy,
            )
        except EngineError as failure:
            error = failure.text
        self._post(lambda: self._connect_returned(error))

    def _connect_returned(self, error: str) -> None:
        self._ended.set()
        if self._stopping:
            return
        refusal = self._tap.take_refusal()
        if refusal is not None and refusal.kind in REFUSING:
            self._deliver(refusal)  # the engine could not put it into words: a number it does not know
        elif not self._connected.is_set() and self._qr is None:
            self._deliver(EngineSignal(kind=SignalKind.DIAL_FAILED, raw=error))
        self._deliver(EngineSignal(kind=SignalKind.ENGINE_ENDED, raw=error))

    # ---- callbacks: in threads of the engine ----

    def _qr_callback(self, _client: int, value: int) -> None:
        text = text_at(value)
        self._post(lambda: self._show_qr(text))

    def _login_callback(self, _client: int, word: int) -> None:
        text = text_at(word)
        self._post(lambda: self._deliver(LoginStatus(word=text)))

    def _event_callback(self, _client: int, pointer: int, size: int, code: int) -> None:
        payload = bytes_at(pointer, size)
        if code in _RAW_CODES:
            self._record_raw(RawKind(code), payload)
            return
        try:
            event = translate(code, payload)
        except DecodeFailedError as error:
            self._write_log("ERROR", f"event {code}: {error}")
            return
        connected = isinstance(event, EngineSignal) and event.kind is SignalKind.CONNECTED
        if connected and self._tap.take_unconfirmed():  # lost before its first question was answered
            self._write_log("WARN", "a login that was not confirmed is no connection")
        elif event is not None:
            self._post(lambda: self._deliver(event))

    def _record_raw(self, kind: RawKind, payload: bytes) -> None:
        message_id = id_of(kind, payload)
        hint = self._tap.unavailable_type(message_id) if kind is RawKind.UNDECRYPTABLE else ""
        if self._record(kind, message_id, hint, payload):
            if kind is RawKind.MESSAGE:
                self._gate.recorded(message_id)
                self.last_message_at = self._clock()
            self._post(self._on_recorded)

    def _log_callback(self, pointer: int, size: int) -> None:
        entry = neonize_pb.LogEntry()
        try:
            entry.ParseFromString(bytes_at(pointer, size))
        except DecodeError:
            return  # a log line that is no text
        self._tap.line(entry.Name, entry.Level, entry.Message)

    def _lost(self, message_id: str) -> None:
        self._post(lambda: self._deliver(EngineLost(message_id=message_id)))

    def _post(self, action: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._run_posted, time.monotonic(), action)

    def _run_posted(self, posted_at: float, action: Callable[[], None]) -> None:
        self._on_lag(posted_at)
        action()

    # ---- in the event loop ----

    def _show_qr(self, value: str) -> None:
        now = self._clock()
        refs = self._tap.refs
        lifetime = refs.lifetime(self._qr_index) if refs else 20.0
        ends_at = refs.ends_at if refs else now + lifetime
        self._qr_index += 1
        self._qr = QrCode(value=value, expires_at=min(now + lifetime, ends_at), ends_at=ends_at)
        self.state = EngineState.UNPAIRED
        self._qr_seen.set()
        self._on_event(self._qr)

    def _deliver(self, event: EngineEvent) -> None:
        if isinstance(event, EngineSignal):
            event = self._complete(event)
            self._change_state(event.kind)
        elif isinstance(event, Account):
            self.account = event
            self._tap.belongs_to(event.jid, event.lid)
            if self.state is EngineState.UNPAIRED:
                self.state = EngineState.CONNECTING
        self._on_event(event)

    def _complete(self, signal: EngineSignal) -> EngineSignal:
        """Add what the stanza behind it said, and since when the connection that it ends had been up."""
        code, raw, expires_s = signal.code, signal.raw, signal.expires_s
        if signal.kind in REFUSING or signal.kind is SignalKind.DISCONNECTED:
            refusal = self._tap.refusal if signal.kind is SignalKind.STREAM_ERROR else self._tap.take_refusal()
            if refusal is not None:
                code, raw = refusal.code or code, raw or refusal.raw
                expires_s = expires_s if expires_s is not None else refusal.expires_s
        ends = signal.kind in CLOSING or signal.kind in (SignalKind.CONNECTED, SignalKind.STREAM_ERROR)
        return EngineSignal(
            kind=signal.kind,
            code=code,
            raw=raw,
            expires_s=expires_s,
            connected_at=self.connected_at if ends else None,
        )

    def _change_state(self, kind: SignalKind) -> None:
        if kind is SignalKind.CONNECTED:
            self._connected.set()
            self.state = EngineState.CONNECTED
            self.connected_at = self._clock()
            self.presence_sent = False
            self._tap.refusal = None
        elif kind in CLOSING:
            self.connected_at = None
            self.state = EngineState.ENDED if kind is SignalKind.ENGINE_ENDED else EngineState.DISCONNECTED

    # ---- what the worker asks for ----

    async def pair_by_code(self, phone: str) -> QrCode:
        """Ask for a code for this number (digits with country code): the code, and until when it can be typed."""
        await self.wait_for_qr()
        request = outgoing.pair_phone(phone)
        answer = neonize_pb.PairPhoneReturnFunction()
        answer.ParseFromString(
            await self._calls.run(PAIR_PHONE_S, lambda: self._library.call("PairPhone", CLIENT, request, len(request)))
        )
        if answer.Error:
            raise EngineError(answer.Error)
        ends_at = self._qr.ends_at if self._qr else self._clock()
        return QrCode(value=answer.Code, expires_at=ends_at, ends_at=ends_at)

    def hold_first_login(self, limit_s: float) -> None:
        """Once linked, do not log in before `log_in`, or for so many seconds."""
        self._first_login.hold(limit_s)

    def log_in(self) -> None:
        """The first login may begin."""
        self._first_login.go()

    async def wait_for_qr(self) -> None:
        """Until the server has sent its references. Raises EngineTimeoutError."""
        try:
            await asyncio.wait_for(self._qr_seen.wait(), QR_SIGNAL_S)
        except TimeoutError as error:
            raise EngineTimeoutError(f"WhatsApp did not offer linking within {QR_SIGNAL_S:g} s") from error

    async def probe(self, timeout_s: float) -> float:
        """Ask for the block list, which is never cached; the seconds until the answer. One at a time, also while an
        earlier one that was given up still hangs."""
        if self._probing:
            raise EngineBusyError("a probe is under way")
        self._probing = True

        def ask() -> bytes:
            try:
                return self._library.call("GetBlocklist", CLIENT)
            finally:
                self._probing = False

        started = self._clock()
        answer = neonize_pb.GetBlocklistReturnFunction()
        try:
            answer.ParseFromString(await self._calls.run(timeout_s, ask))
        except EngineBusyError:
            self._probing = False
            raise
        if answer.Error:
            raise EngineError(answer.Error)
        return self._clock() - started

    async def become_unavailable(self) -> bool:
        """Tell WhatsApp that nobody looks at this device, so that the user's phone keeps ringing. False while no push
        name has arrived yet; then it is to be tried again."""
        error = await self._calls.run(
            PRESENCE_S, lambda: self._library.text_call("SendPresence", CLIENT, b"unavailable")
        )
        self.presence_sent = not error
        return self.presence_sent

    async def download(self, media: MediaRef, part: Path, timeout_s: float) -> int:
        """Fetch an attachment into the new file `part`; its size. Also raises OSError if writing fails."""

        def fetch() -> int:
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                return self._library.download(fd, CLIENT, *outgoing.download_arguments(media))
            finally:
                os.close(fd)

        return await self._calls.run(timeout_s, fetch)

    async def send_text(self, to: str, text: str) -> str:
        """Send a text to a JID, or to `self`; the message's id."""
        return await self._send(to, outgoing.text_message(text))

    async def send_file(self, to: str, file: outgoing.OutgoingFile) -> str:
        """Upload and send a file; the message's id."""
        data = file.path.read_bytes()
        answer = neonize_pb.UploadReturnFunction()
        kind = outgoing.upload_type(file.kind)
        answer.ParseFromString(
            await self._calls.run(SEND_S, lambda: self._library.call("Upload", CLIENT, data, len(data), kind))
        )
        if answer.Error:
            raise EngineError(answer.Error)
        return await self._send(to, outgoing.media_message(file, answer.UploadResponse))

    async def _send(self, to: str, message: bytes) -> str:
        jid = outgoing.recipient(to, self.account)
        answer = neonize_pb.SendMessageReturnFunction()
        async with self._send_lock:  # the wire keeps the order of the calls
            answer.ParseFromString(
                await self._calls.run(
                    SEND_S,
                    lambda: self._library.call("SendMessage", CLIENT, jid, len(jid), message, len(message)),
                )
            )
        if answer.Error:
            raise EngineError(answer.Error)
        return str(answer.SendResponse.ID)

    async def logout(self) -> None:
        """Unlink this device at WhatsApp; the engine deletes its credentials. A device that was accepted, but has not
        logged in yet, does so first: given up without, it would stay in its owner's list of devices."""
        if self.account is not None and not self._connected.is_set() and not self._ended.is_set():
            self._first_login.go()
            with contextlib.suppress(TimeoutError):  # the engine says what is wrong
                await asyncio.wait_for(self._connected.wait(), FIRST_LOGIN_S)
        error = await self._calls.run(LOGOUT_S, lambda: self._library.text_call("Logout", CLIENT))
        if error:
            raise EngineError(error)

    async def stop(self) -> bool:
        """Disconnect in order; False if the engine did not let go in time and the process must just end."""
        self._first_login.go()
        if self.state is EngineState.STARTING or self._ended.is_set():
            return True
        self._stopping = True
        if self.account is None:  # Go would panic on the way out of an unlinked client
            if self._qr is not None:
                return await self._bounded_stop(lambda: self._library.disconnect(CLIENT))
            return False
        if not await self._bounded_stop(lambda: self._library.stop(CLIENT)):
            return False
        try:
            await asyncio.wait_for(self._ended.wait(), STOP_S)
        except TimeoutError:
            return False
        return True

    async def _bounded_stop(self, function: Callable[[], None]) -> bool:
        try:
            await self._calls.run(STOP_S, function)
        except (EngineTimeoutError, EngineBusyError):
            return False
        return True
