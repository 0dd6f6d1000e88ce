"""The conversation of one attempt with a worker that does what the test says."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import pytest

from appliance.config import Pairing
from appliance.model import PairingState, PairMethod
from appliance.pairing.attempt import Attempt
from appliance.pairing.dialogue import LOGIN_WAIT_S, AttemptFailedError, Dialogue
from appliance.pairing.hold import Hold
from appliance.problems import timed_out
from appliance.protocol import LogIn, PairByCode, PairByQr, Paired, PairFailed, PairShown, Reply, Signal, SignalKind
from tests.daemon_fakes import FakeSessions, FakeWorker

PAIRED = Paired(jid="221771234512:3@s.whatsapp.net", lid="1:3@lid")
SETTINGS = Pairing(job_limit_s=5, code_wait_s=5, confirm_wait_s=5)


class ProvedHold:
    """A lock that is always proved, or never."""

    def __init__(self) -> None:
        self.proved = True


class Case:
    def __init__(self, method: PairMethod = PairMethod.CODE) -> None:
        phone = "+221771234512" if method is PairMethod.CODE else None
        self.states: list[PairingState] = []
        self.shown: list[PairShown] = []
        self.accepted: list[Paired] = []
        self.offset = 0.0
        self.hold = ProvedHold()
        self.attempt = Attempt("a1", "one", method, phone, relink=False, changed=self._changed, clock=self._clock)
        self.worker = FakeWorker(FakeSessions(), "one", "a1")

    def _clock(self) -> float:
        return time.time() + self.offset

    async def _changed(self, attempt: Attempt) -> None:
        self.states.append(attempt.state)

    async def show_code(self, shown: PairShown) -> None:
        self.shown.append(shown)

    async def accept(self, paired: Paired) -> None:
        self.accepted.append(paired)

    async def link(self, settings: Pairing = SETTINGS) -> None:
        await self.attempt.start(cast(Hold, self.hold))
        deadline = asyncio.get_running_loop().time() + settings.job_limit_s
        await Dialogue(self.attempt, self.worker, _Desk(self), settings, deadline=deadline).run()

    async def fail(self, settings: Pairing = SETTINGS) -> AttemptFailedError:
        with pytest.raises(AttemptFailedError) as caught:
            await self.link(settings)
        return caught.value

    def show(self, value: str = "ABCD-EFGH", life_s: float = 160.0) -> None:
        self.worker.report(PairShown(method=self.attempt.method, value=value, expires_at=self._clock() + life_s))

    async def until(self, state: PairingState) -> None:
        async with asyncio.timeout(5):
            while self.attempt.state is not state:
                await self.attempt.wait_change(self.attempt.updated_at, 1)


class _Desk:
    def __init__(self, case: Case) -> None:
        self._case = case

    async def show(self, shown: PairShown) -> None:
        await self._case.show_code(shown)

    async def accept(self, paired: Paired) -> None:
        await self._case.accept(paired)


async def test_code_typed_then_online() -> None:
    case = Case()
    case.show()
    case.worker.report(PAIRED)
    case.worker.report(Signal(kind=SignalKind.DISCONNECTED, code=515))
    case.worker.report(Signal(kind=SignalKind.CONNECTED))
    await case.link()
    assert case.worker.commands == [PairByCode(phone="221771234512", login_wait_s=LOGIN_WAIT_S), LogIn()]
    assert case.states == [PairingState.STARTING, PairingState.WAITING, PairingState.CONFIRMING]
    assert case.accepted == [PAIRED]
    times = case.attempt.times
    assert None not in (times.started_at, times.shown_at, times.accepted_at)


async def test_code_is_visible_while_it_lives_and_masked_number_always() -> None:
    case = Case()
    linking = asyncio.create_task(case.link(Pairing(confirm_wait_s=5)))
    case.show()
    await case.until(PairingState.WAITING)
    view = case.attempt.view()
    assert (view.state, view.code, view.phone) == (PairingState.WAITING, "ABCD-EFGH", "+22177·····12")
    case.offset = 100
    assert case.attempt.view().remaining_s == pytest.approx(60, abs=1)
    case.hold.proved = False
    assert case.attempt.view().code is None
    case.hold.proved = True
    assert case.attempt.view().code == "ABCD-EFGH"
    case.offset = 160
    dead = case.attempt.view()
    assert (dead.code, dead.qr, dead.expires_at, dead.remaining_s) == (None, None, None, None)
    case.worker.report(PAIRED)
    await case.until(PairingState.CONFIRMING)
    assert case.attempt.view().code is None
    case.worker.report(Signal(kind=SignalKind.CONNECTED))
    await linking


async def test_code_never_outlives_its_attempt() -> None:
    case = Case()
    linking = asyncio.create_task(case.link(Pairing(job_limit_s=100, confirm_wait_s=60)))
    case.show(life_s=160)
    await case.until(PairingState.WAITING)
    assert case.shown[0].expires_at - case.attempt.now() == pytest.approx(80, abs=1)
    assert case.attempt.view().remaining_s == pytest.approx(80, abs=1)
    case.worker.end()
    with pytest.raises(AttemptFailedError):
        await linking


async def test_connection_lost_while_a_code_is_shown_is_not_called_silence() -> None:
    case = Case()
    case.show()
    case.worker.report(PairFailed(reason="timeout", shown=True))
    ending = (await case.fail(Pairing())).ending
    assert "broke" in ending.reason
    assert not ending.counts


async def test_worker_that_does_not_answer_is_worth_another_try() -> None:
    case = Case()
    case.worker.refusal = timed_out("The linking process did not answer in time.", "Try again.")
    ending = (await case.fail()).ending
    assert (ending.state, ending.again) == (PairingState.FAILED, True)


async def test_accepted_is_kept_although_the_worker_dies_unless_a_former_login_would_be_given_up() -> None:
    kept = Case()
    kept.show()
    kept.worker.report(PAIRED)
    kept.worker.end()
    await kept.link()
    for dies in (True, False):
        relinked = Case()
        relinked.attempt.relink = True
        relinked.show()
        relinked.worker.report(PAIRED)
        if dies:
            relinked.worker.end()
        error = await relinked.fail(Pairing(job_limit_s=5, code_wait_s=5, confirm_wait_s=0.05))
        assert "keeps its former link" in error.ending.reason


async def test_qr_rolls_over() -> None:
    case = Case(PairMethod.QR)
    for number in range(3):
        case.show(f"https://wa.me/settings/linked_devices#{number}", 20)
    case.worker.report(PAIRED)
    case.worker.report(Signal(kind=SignalKind.CONNECTED))
    await case.link()
    assert case.worker.commands == [PairByQr(login_wait_s=LOGIN_WAIT_S), LogIn()]
    assert case.states.count(PairingState.WAITING) == 3


@pytest.mark.parametrize(
    ("failed", "shown", "state", "parts"),
    [
        (PairFailed(reason="timeout", shown=True), True, PairingState.EXPIRED, ["not typed", "wrong", "passkey"]),
        (PairFailed(reason="timeout"), False, PairingState.FAILED, ["no code"]),
        (PairFailed(reason="refused", code=429), False, PairingState.REFUSED, ["429", "too many"]),
        (PairFailed(reason="refused", code=400), False, PairingState.REFUSED, ["400"]),
        (PairFailed(reason="dial_failed"), False, PairingState.FAILED, ["could not be reached"]),
        (PairFailed(reason="outdated"), False, PairingState.FAILED, ["no longer accepts"]),
        (PairFailed(reason="something_new", code=7), False, PairingState.FAILED, ["something new", "7"]),
    ],
)
async def test_each_failure_has_its_words(
    failed: PairFailed, shown: bool, state: PairingState, parts: list[str]
) -> None:
    case = Case()
    if shown:
        case.show(life_s=1)
    case.worker.report(failed)
    ending = (await case.fail()).ending
    assert ending.state is state
    assert ending.remedy
    for part in parts:
        assert part in ending.reason


async def test_refused_command_is_explained_by_the_event() -> None:
    case = Case()
    case.worker.reply = Reply(id=1, error="the engine refused")
    case.worker.report(PairFailed(reason="refused", code=429))
    assert "429" in (await case.fail()).ending.reason


async def test_worker_that_dies_is_a_failure() -> None:
    case = Case()
    case.show()
    case.worker.end()
    assert "unexpectedly" in (await case.fail()).ending.reason


async def test_silence_ends_at_the_limit() -> None:
    case = Case()
    case.show()
    error = await case.fail(Pairing(job_limit_s=0.05, code_wait_s=5))
    assert "passkey" in error.ending.reason


async def test_no_code_in_time() -> None:
    error = await Case().fail(Pairing(job_limit_s=5, code_wait_s=0.05))
    assert "no code" in error.ending.reason


async def test_refused_first_login_fails_but_a_slow_one_is_linked() -> None:
    refused = Case()
    refused.show()
    refused.worker.report(PAIRED)
    refused.worker.report(Signal(kind=SignalKind.LOGGED_OUT, code=401))
    assert (await refused.fail()).ending.state is PairingState.REFUSED
    slow = Case()
    slow.show()
    slow.worker.report(PAIRED)
    await slow.link(Pairing(job_limit_s=5, code_wait_s=5, confirm_wait_s=0.05))


async def test_final_states_are_never_left() -> None:
    case = Case()
    await case.attempt.move(PairingState.CANCELLED)
    await case.attempt.move(PairingState.WAITING)
    assert case.attempt.state is PairingState.CANCELLED
