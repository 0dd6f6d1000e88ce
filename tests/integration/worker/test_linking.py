"""Linking through the real engine: by code, by QR, and the ways in which it fails."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from appliance.protocol import (
    EngineState,
    LogIn,
    PairByCode,
    PairByQr,
    Paired,
    PairFailed,
    PairShown,
    SignalKind,
    WorkerExit,
    WorkerSpec,
)
from appliance.staging.client import StagingClient
from appliance.staging.control_types import AddAccount, FaultKind, JournalKind, SetFault, TypingPlan
from tests.integration.worker.conftest import WorkerProcess

pytestmark = [pytest.mark.staging, pytest.mark.asyncio(loop_scope="module")]

REFS_S = 160.0
"""Six references: 60 s and five times 20 s."""


async def test_code_is_shown_with_its_expiry_and_links(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> None:
    await staging.add_account(AddAccount(phone=phone))
    worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
    assert worker.hello is not None
    assert worker.hello.engine_state is EngineState.STARTING
    before = time.time()
    reply = await worker.command(PairByCode(phone=phone))
    assert reply.error is None
    shown = await worker.event(PairShown)
    assert len(shown.value.replace("-", "")) == 8
    assert before + REFS_S - 5 < shown.expires_at <= time.time() + REFS_S
    assert (await staging.type_code(phone, shown.value)).outcome == "accepted"
    paired = await worker.event(Paired)
    assert paired.jid.startswith(phone)
    assert paired.lid.endswith("@lid")
    signal = await worker.signal(SignalKind.CONNECTED)
    assert signal.connected_at is None
    await worker.until(lambda: worker.beats and worker.beats[-1].engine_state is EngineState.CONNECTED)
    assert [type(event.body).__name__ for event in worker.events[:2]] == ["PairShown", "Paired"]
    second = await worker.command(PairByCode(phone=phone))
    assert "every attempt has a worker of its own" in (second.error or "")
    assert await worker.stop() == WorkerExit.STOPPED


async def test_qr_links(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> None:
    await staging.add_account(AddAccount(phone=phone))
    worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
    assert (await worker.command(PairByQr())).error is None
    shown = await worker.event(PairShown)
    assert shown.value.startswith("https://wa.me/settings/linked_devices#")
    assert 50 < shown.expires_at - time.time() <= 60
    await staging.scan_qr(phone, shown.value)
    await worker.event(Paired)
    await worker.signal(SignalKind.CONNECTED)


@pytest.mark.parametrize("code", [429, 400])
async def test_refused_code_request_says_the_number(
    staging: StagingClient,
    make_spec: Callable[..., WorkerSpec],
    start_worker: Callable[..., object],
    phone: str,
    code: int,
) -> None:
    await staging.add_account(AddAccount(phone=phone))
    fault = await staging.set_fault(SetFault(kind=FaultKind.PAIR_REFUSED, code=code))
    try:
        worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
        await worker.command(PairByCode(phone=phone))
        failed = await worker.event(PairFailed)
    finally:
        await staging.clear_faults(fault.id)
    assert (failed.reason, failed.code, failed.shown) == ("refused", code, False)
    assert await worker.exit_status() == WorkerExit.PAIRING_FAILED


async def test_code_that_nobody_types_ends_as_timeout(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> None:
    await staging.add_account(AddAccount(phone=phone, plan=TypingPlan.NEVER))
    fault = await staging.set_fault(SetFault(kind=FaultKind.PAIR_REFS, code=1))
    try:
        worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
        await worker.command(PairByCode(phone=phone))
        shown = await worker.event(PairShown)
        assert 15 < shown.expires_at - time.time() <= 20
        failed = await worker.event(PairFailed, 40.0)
    finally:
        await staging.clear_faults(fault.id)
    assert (failed.reason, failed.shown) == ("timeout", True)
    assert abs(time.time() - shown.expires_at) < 10
    assert await worker.exit_status() == WorkerExit.PAIRING_FAILED


async def test_identity_that_does_not_verify_ends_as_error(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> None:
    await staging.add_account(AddAccount(phone=phone))
    fault = await staging.set_fault(SetFault(kind=FaultKind.PAIR_BAD_HMAC))
    try:
        worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
        await worker.command(PairByCode(phone=phone))
        shown = await worker.event(PairShown)
        await staging.type_code(phone, shown.value)
        failed = await worker.event(PairFailed)
    finally:
        await staging.clear_faults(fault.id)
    assert (failed.reason, failed.shown) == ("error", True)


async def test_network_that_is_down_fails_the_attempt(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> None:
    worker: WorkerProcess = await start_worker(make_spec(proxy="http://127.0.0.1:9"))  # type: ignore[misc]
    await worker.command(PairByCode(phone=phone))
    failed = await worker.event(PairFailed)
    assert (failed.reason, failed.shown) == ("dial_failed", False)
    assert not await staging.journal(kinds=[JournalKind.PAIR_REQUESTED], account=phone)


async def test_first_login_waits_for_its_turn(
    staging: StagingClient, make_spec: Callable[..., WorkerSpec], start_worker: Callable[..., object], phone: str
) -> None:
    await staging.add_account(AddAccount(phone=phone))
    worker: WorkerProcess = await start_worker(make_spec())  # type: ignore[misc]
    await worker.command(PairByCode(phone=phone, login_wait_s=60))
    shown = await worker.event(PairShown)
    assert (await staging.type_code(phone, shown.value)).outcome == "accepted"
    await worker.event(Paired)  # told although it does not log in yet
    before = await staging.last()
    with pytest.raises(TimeoutError):
        await staging.wait_for(JournalKind.LOGIN, account=phone, timeout_s=2)
    assert (await worker.command(LogIn())).error is None
    await staging.wait_for(JournalKind.READY, account=phone, after=before, timeout_s=20)
    await worker.signal(SignalKind.CONNECTED)
    assert await worker.stop() == WorkerExit.STOPPED
