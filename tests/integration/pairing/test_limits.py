"""Who may be shown a code, and when: limits count codes that were shown, and only if the user did not use them."""

from __future__ import annotations

import pytest

from appliance.history.alert_rules import evaluate
from appliance.history.facts import Live, gather
from appliance.history.ledger import Ledger
from appliance.history.settings import AlertSettings
from appliance.model import PairingState, PairMethod, SessionState
from appliance.model_history import AlertRule
from appliance.pairing.service import PairingService
from appliance.problems import ProblemError
from appliance.protocol import PairFailed, PairShown
from tests.integration.pairing.rig import CODE_LIFE_S, OTHER_PHONE, PHONE, Rig


async def _refused(service: PairingService, session: str = "one", phone: str = PHONE) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await service.request(session, PairMethod.CODE, phone)
    assert caught.value.problem.status == 429
    assert caught.value.problem.remedy
    return caught.value


async def _expire(rig: Rig, service: PairingService) -> None:
    """A code that is shown and never typed."""
    worker = await rig.shown(service)
    [view, *_] = await service.recent()
    rig.clock.offset += CODE_LIFE_S
    worker.report(PairFailed(reason="timeout", shown=True))
    assert (await rig.ended(service, view.id)).state is PairingState.EXPIRED


async def test_one_code_in_ten_minutes_and_the_refusal_says_when(rig: Rig) -> None:
    service = await rig.service()
    await _expire(rig, service)
    error = await _refused(service)
    assert error.retry_after_s == pytest.approx(600 - CODE_LIFE_S, abs=5)
    assert "8 minutes" in error.problem.remedy
    assert (await _refused(service, "two", PHONE)).problem.detail.startswith("A code for this number")
    await _refused(service, "one", OTHER_PHONE)
    rig.clock.offset += error.retry_after_s or 0
    await rig.shown(service)


async def test_operator_lifts_the_limit_of_one_user(rig: Rig) -> None:
    service = await rig.service()
    await _expire(rig, service)
    assert await service.lift("two") == 0
    await _refused(service)
    assert await service.lift("one") == 2
    await rig.shown(service)


@pytest.mark.parametrize(
    "failed", [PairFailed(reason="timeout", shown=True), PairFailed(reason="error", shown=True), None]
)
async def test_shown_code_that_failed_without_its_user_is_free(rig: Rig, failed: PairFailed | None) -> None:
    """The connection broke, the engine failed, the worker died: all long before the code's end."""
    service = await rig.service()
    worker = await rig.shown(service)
    [view] = await service.recent()
    if failed is None:
        worker.end()
    else:
        worker.report(failed)
    assert (await rig.ended(service, view.id)).state is PairingState.FAILED
    await rig.shown(service)


async def test_cancelling_a_shown_code_counts_and_before_it_does_not(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    await rig.worker()
    await service.cancel(view.id)
    await rig.shown(service)
    [shown, *_] = await service.recent()
    await service.cancel(shown.id)
    await _refused(service)


async def test_429_of_whatsapp_rests_the_number_longer_each_time(rig: Rig) -> None:
    service = await rig.service()
    for pause in (1800, 3600, 7200):
        view = await service.request("one", PairMethod.CODE, PHONE)
        (await rig.worker()).report(PairFailed(reason="refused", code=429))
        assert (await rig.ended(service, view.id)).state is PairingState.REFUSED
        error = await _refused(service, "two", PHONE)
        assert error.retry_after_s == pytest.approx(pause, abs=5)
        assert "429" in error.problem.detail
        rig.clock.offset += pause + 1
    await rig.linked(service)
    rig.sessions.change("one", state=SessionState.NEEDS_PAIRING)
    rig.clock.offset += 601
    view = await service.request("one", PairMethod.CODE, PHONE)
    (await rig.worker()).report(PairFailed(reason="refused", code=429))
    await rig.ended(service, view.id)
    assert (await _refused(service)).retry_after_s == pytest.approx(1800, abs=5)  # a success was a fresh start


async def test_appliance_has_a_limit_of_its_own(rig: Rig) -> None:
    service = await rig.service(appliance_codes=1)
    await rig.shown(service)
    error = await _refused(service, "two", OTHER_PHONE)
    assert "as many codes as it may" in error.problem.detail
    assert error.retry_after_s == pytest.approx(3600, abs=5)


async def test_code_asked_again_after_100_s_shows_60_s_and_after_its_end_is_in_no_answer(rig: Rig) -> None:
    first, second = await rig.service("a"), await rig.service("b")
    await rig.shown(first)
    rig.clock.offset += 100
    for service in (first, second):
        again = await service.request("one", PairMethod.CODE, PHONE)
        assert again.code == "ABCD-EFGH"
        assert again.remaining_s == pytest.approx(60, abs=3)
    rig.clock.offset += 60
    for service in (first, second):
        again = await service.request("one", PairMethod.CODE, PHONE)
        answers = [again, await service.get(again.id), *await service.recent(), await service.wait(again.id, 0, 0)]
        for view in answers:
            assert (view.code, view.qr, view.expires_at, view.remaining_s) == (None, None, None, None)


async def test_before_a_code_was_shown_it_is_asked_for_again_on_a_fresh_store(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.CODE, PHONE)
    stores = []
    for _ in range(2):
        worker = await rig.worker()
        stores.append(worker.attempt_id)
        worker.report(PairFailed(reason="dial_failed"))
    last = await rig.worker()
    stores.append(last.attempt_id)
    assert stores == [view.id, f"{view.id}-2", f"{view.id}-3"]
    last.report(PairFailed(reason="dial_failed"))
    ended = await rig.ended(service, view.id)
    assert (ended.state, ended.tries) == (PairingState.FAILED, 3)
    assert ended.remedy


async def test_qr_codes_roll_on_and_count_once(rig: Rig) -> None:
    service = await rig.service()
    view = await service.request("one", PairMethod.QR)
    worker = await rig.worker()
    for number in range(3):
        text = f"https://wa.me/settings/linked_devices#{number}"
        worker.report(PairShown(method=PairMethod.QR, value=text, expires_at=rig.clock() + 20))
        shown = await rig.until(service, view.id, lambda found, text=text: found.qr == text)  # type: ignore[misc]
        assert shown.remaining_s == pytest.approx(20, abs=2)
        assert shown.code is None
    rig.link(worker)
    assert (await rig.ended(service, view.id)).state is PairingState.LINKED
    assert await rig.redis.client.zcard("amda:pairing:shown") == 1


async def test_record_by_day(rig: Rig) -> None:
    service = await rig.service()
    await rig.linked(service)
    view = await service.request("two", PairMethod.CODE, OTHER_PHONE)
    (await rig.worker()).report(PairFailed(reason="refused", code=400))
    await rig.ended(service, view.id)
    [day] = await service.days(7)
    assert (day.attempts, day.linked, day.cancelled, day.success_rate) == (2, 1, 0, 0.5)
    assert day.linked_s is not None
    row = await rig.database.fetch_one("SELECT * FROM pairings WHERE state = 'linked'")
    assert row is not None
    assert row["created_at"] <= row["started_at"] <= row["shown_at"] <= row["accepted_at"] <= row["ended_at"]


async def test_operators_are_alarmed_when_linking_fails_more_often_than_not(rig: Rig) -> None:
    """From real attempts: what was cancelled does not count, and what was linked does."""
    service = await rig.service(code_interval_s=1.0, number_interval_s=1.0)
    alarms = []
    await service.cancel((await service.request("two", PairMethod.CODE, OTHER_PHONE)).id)
    for _ in range(5):
        view = await service.request("one", PairMethod.CODE, PHONE)
        while (worker := await rig.worker()).attempt_id != view.id:
            pass
        worker.report(PairFailed(reason="refused", code=400))
        await rig.ended(service, view.id)
        alarms.append(await _alarms(rig))
    assert alarms == [set(), set(), set(), set(), {"0 of 5 attempts succeeded within 6 h"}]
    for _ in range(5):
        await rig.linked(service)
        rig.sessions.change("one", state=SessionState.NEEDS_PAIRING)
        rig.clock.offset += 2
    assert await _alarms(rig) == set()


async def _alarms(rig: Rig) -> set[str]:
    settings = AlertSettings()
    now = rig.clock()
    facts = await gather(rig.database, Ledger(rig.database), Live(), settings, now, started_at=now)
    found = evaluate(facts, settings).conditions
    return {condition.text for (rule, _), condition in found.items() if rule is AlertRule.PAIRING_RATE}
