"""One attempt to link this store: from the daemon's command to `Paired` or `PairFailed`, exactly one of them.

Nothing here sleeps or retries: the engine's references run out by themselves, and a second attempt is a new store.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final, Protocol

from appliance.model import PairMethod
from appliance.protocol import EventBody, PairByCode, PairByQr, Paired, PairFailed, PairShown, SignalKind
from appliance.worker.engine.calls import EngineBusyError, EngineTimeoutError
from appliance.worker.engine.events import Account, EngineEvent, EngineSignal, LoginStatus, LoginWord, QrCode
from appliance.worker.engine.library import EngineError

_STATUS: Final = re.compile(r"status (\d{3})")
"""How the engine words WhatsApp's answer to a refused query: 'info query returned status 429: rate-overlimit'."""


class Reason:
    """Words of `PairFailed.reason`."""

    TIMEOUT: Final = "timeout"
    REFUSED: Final = "refused"
    DIAL_FAILED: Final = "dial_failed"
    OUTDATED: Final = "outdated"
    PASSKEY: Final = "passkey"
    NO_ANSWER: Final = "no_answer"
    ERROR: Final = "error"


_WORDS: Final = {
    LoginWord.TIMEOUT: Reason.TIMEOUT,
    LoginWord.CLIENT_OUTDATED: Reason.OUTDATED,
    LoginWord.PASSKEY_REQUEST: Reason.PASSKEY,
    LoginWord.PASSKEY_CONFIRMATION: Reason.PASSKEY,
}


class PairingEngine(Protocol):
    """What is needed of the engine."""

    async def pair_by_code(self, phone: str) -> QrCode:
        """Ask for a code."""

    async def wait_for_qr(self) -> None:
        """Until linking is offered."""


class Pairing:
    """Fed with the engine's events; says through `emit` how it goes."""

    def __init__(
        self, *, engine: PairingEngine, connect: Callable[[], None], emit: Callable[[EventBody], None]
    ) -> None:
        """`connect` starts the engine: only with the command, because a code lives as long as the connection does."""
        self._engine = engine
        self._connect = connect
        self._emit = emit
        self._method: PairMethod | None = None
        self._shown = False
        self._accepted = False
        self.failed = asyncio.Event()
        self.done = False
        """Paired; what comes now is the business of a running worker."""

    async def begin(self, request: PairByCode | PairByQr) -> str | None:
        """Start the attempt; an error text if there is one already. Returns when a code is shown or the attempt has
        failed, which the event says."""
        if self._method is not None:
            return "this worker is linking already; every attempt has a worker of its own"
        by_code = isinstance(request, PairByCode)
        self._method = PairMethod.CODE if by_code else PairMethod.QR
        self._connect()
        asking = asyncio.create_task(self._ask(request), name="pairing")
        failed = asyncio.create_task(self.failed.wait())
        try:
            await asyncio.wait((asking, failed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            failed.cancel()
        return None

    async def _ask(self, request: PairByCode | PairByQr) -> None:
        try:
            if isinstance(request, PairByCode):
                self._show(PairMethod.CODE, await self._engine.pair_by_code(request.phone))
            else:
                await self._engine.wait_for_qr()
        except EngineTimeoutError as error:
            self._fail(Reason.NO_ANSWER, raw=str(error))
        except EngineBusyError as error:
            self._fail(Reason.ERROR, raw=str(error))
        except EngineError as error:
            found = _STATUS.search(error.text)
            self._fail(Reason.REFUSED if found else Reason.ERROR, int(found[1]) if found else None, error.text)

    def on_event(self, event: EngineEvent) -> None:
        """An event of the engine during the attempt."""
        if self.failed.is_set() or self.done:
            return
        if isinstance(event, QrCode):
            if self._method is PairMethod.QR:
                self._show(PairMethod.QR, event)
        elif isinstance(event, LoginStatus):
            if event.word == LoginWord.SUCCESS:
                self._accepted = True
            else:
                self._fail(_WORDS.get(LoginWord(event.word), Reason.ERROR) if _known(event.word) else Reason.ERROR)
        elif isinstance(event, Account):
            self.done = True
            self._emit(Paired(jid=event.jid, lid=event.lid, platform=event.platform))
        elif isinstance(event, EngineSignal) and not self._accepted:
            self._on_signal(event)

    def _on_signal(self, signal: EngineSignal) -> None:
        if signal.kind is SignalKind.DIAL_FAILED:
            self._fail(Reason.DIAL_FAILED, raw=signal.raw)
        elif signal.kind is SignalKind.CLIENT_OUTDATED:
            self._fail(Reason.OUTDATED, signal.code, signal.raw)
        elif signal.kind in (SignalKind.CONNECT_FAILURE, SignalKind.LOGGED_OUT, SignalKind.TEMPORARY_BAN):
            self._fail(Reason.REFUSED, signal.code, signal.raw)
        elif signal.kind is SignalKind.ENGINE_ENDED:
            self._fail(Reason.ERROR, raw=signal.raw)

    def _show(self, method: PairMethod, code: QrCode) -> None:
        if self.failed.is_set():
            return
        self._shown = True
        self._emit(PairShown(method=method, value=code.value, expires_at=code.expires_at))

    def _fail(self, reason: str, code: int | None = None, raw: str = "") -> None:
        if self.failed.is_set():
            return
        self.failed.set()
        self._emit(PairFailed(reason=reason, code=code, raw=raw, shown=self._shown))


def _known(word: str) -> bool:
    return word in LoginWord._value2member_map_
