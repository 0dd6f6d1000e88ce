"""One attempt: exactly one of `Paired` and `PairFailed`, whatever the engine does."""

from __future__ import annotations

import asyncio

import pytest

from appliance.protocol import EventBody, PairByCode, PairByQr, Paired, PairFailed, PairShown, SignalKind
from appliance.worker.engine.calls import EngineTimeoutError
from appliance.worker.engine.events import Account, EngineSignal, LoginStatus, QrCode
from appliance.worker.engine.library import EngineError
from appliance.worker.pairing import Pairing

CODE = QrCode(value="ABCD-EFGH", expires_at=160.0, ends_at=160.0)
QR = QrCode(value="https://…", expires_at=60.0, ends_at=160.0)
ACCOUNT = Account(jid="49:1@s.whatsapp.net", lid="1:1@lid", platform="android")


class FakeEngine:
    def __init__(self, outcome: QrCode | Exception | None) -> None:
        self.outcome = outcome

    async def pair_by_code(self, phone: str) -> QrCode:  # noqa: ARG002
        if self.outcome is None:
            await asyncio.Event().wait()
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert isinstance(self.outcome, QrCode)
        return self.outcome

    async def wait_for_qr(self) -> None:
        if isinstance(self.outcome, Exception):
            raise self.outcome


def attempt(outcome: QrCode | Exception | None = CODE) -> tuple[Pairing, list[EventBody], list[str]]:
    emitted: list[EventBody] = []
    connected: list[str] = []
    pairing = Pairing(engine=FakeEngine(outcome), connect=lambda: connected.append("connect"), emit=emitted.append)
    return pairing, emitted, connected


async def test_code_then_paired() -> None:
    pairing, emitted, connected = attempt()
    assert connected == []
    assert await pairing.begin(PairByCode(phone="49")) is None
    pairing.on_event(QR)  # the engine shows QR texts too; nobody asked for them
    pairing.on_event(LoginStatus(word="success"))
    pairing.on_event(ACCOUNT)
    assert [type(body) for body in emitted] == [PairShown, Paired]
    assert pairing.done
    assert connected == ["connect"]


async def test_every_qr_is_shown() -> None:
    pairing, emitted, _ = attempt()
    await pairing.begin(PairByQr())
    pairing.on_event(QR)
    pairing.on_event(QrCode(value="second", expires_at=80.0, ends_at=160.0))
    assert [body.value for body in emitted if isinstance(body, PairShown)] == [QR.value, "second"]


async def test_second_request_is_refused() -> None:
    pairing, emitted, connected = attempt()
    await pairing.begin(PairByCode(phone="49"))
    assert "worker of its own" in (await pairing.begin(PairByQr()) or "")
    assert connected == ["connect"]
    assert len(emitted) == 1


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (EngineError("info query returned status 429: rate-overlimit"), "refused", 429),
        (EngineError("info query returned status 400: bad-request"), "refused", 400),
        (EngineError("websocket not connected"), "error", None),
        (EngineTimeoutError("no offer"), "no_answer", None),
    ],
)
async def test_refused_request(error: Exception, reason: str, code: int | None) -> None:
    pairing, emitted, _ = attempt(error)
    await pairing.begin(PairByCode(phone="49"))
    [failed] = emitted
    assert isinstance(failed, PairFailed)
    assert (failed.reason, failed.code, failed.shown) == (reason, code, False)
    assert pairing.failed.is_set()


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("timeout", "timeout"),
        ("error", "error"),
        ("err-client-outdated", "outdated"),
        ("passkey-request", "passkey"),
        ("a new word", "error"),
    ],
)
async def test_words_of_the_engine(word: str, reason: str) -> None:
    pairing, emitted, _ = attempt()
    await pairing.begin(PairByCode(phone="49"))
    pairing.on_event(LoginStatus(word=word))
    pairing.on_event(LoginStatus(word="timeout"))
    failed = [body for body in emitted if isinstance(body, PairFailed)]
    assert [(body.reason, body.shown) for body in failed] == [(reason, True)]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (SignalKind.DIAL_FAILED, "dial_failed"),
        (SignalKind.CLIENT_OUTDATED, "outdated"),
        (SignalKind.CONNECT_FAILURE, "refused"),
        (SignalKind.ENGINE_ENDED, "error"),
    ],
)
async def test_signals_end_a_waiting_request(kind: SignalKind, reason: str) -> None:
    pairing, emitted, _ = attempt(None)
    request = asyncio.create_task(pairing.begin(PairByCode(phone="49")))
    await asyncio.sleep(0)
    pairing.on_event(EngineSignal(kind=kind, code=7))
    async with asyncio.timeout(5):
        assert await request is None
    [failed] = emitted
    assert isinstance(failed, PairFailed)
    assert failed.reason == reason


async def test_restart_after_success_is_no_failure() -> None:
    pairing, emitted, _ = attempt()
    await pairing.begin(PairByCode(phone="49"))
    pairing.on_event(LoginStatus(word="success"))
    pairing.on_event(EngineSignal(kind=SignalKind.DISCONNECTED, code=515))
    pairing.on_event(EngineSignal(kind=SignalKind.CONNECT_FAILURE, code=503))
    pairing.on_event(ACCOUNT)
    assert isinstance(emitted[-1], Paired)
    assert not pairing.failed.is_set()
