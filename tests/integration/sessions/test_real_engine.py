"""The table of design §4 with the real engine: WhatsApp's side is the staging network, and its journal is the judge.

One appliance with the shipped settings; each session meets a fault of its own, all at the same time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

import pytest

from appliance.bench.rig import Rig, phone_number
from appliance.model import PairingState, SessionState, SessionView
from appliance.staging import control_types as ct

pytestmark = [pytest.mark.staging, pytest.mark.timeout(240)]

F = ct.FaultKind
S = SessionState
WAIT_S = 75.0
"""A half-open connection may take 45 s on an idle machine; this one starts a dozen engines at the same time."""
QUIET_S = 12.0
"""Long enough to see somebody try who must not."""

Case = Callable[[Rig, str, str], Awaitable[None]]


async def strike(rig: Rig, account: str, *faults: ct.SetFault) -> None:
    for fault in faults:
        await rig.staging.set_fault(fault)


async def shown(rig: Rig, session: str) -> str:
    """What `amda session show` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "session", "show", session),
        env={**os.environ, "AMDA_CONFIG": str(rig.settings.paths.run_dir / "settings.toml")},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def ends_in(rig: Rig, session: str, state: SessionState) -> SessionView:
    try:
        async with asyncio.timeout(WAIT_S):
            return await rig.wait_state(session, state)
    except TimeoutError:
        view = await rig.api.session(session)
        raise AssertionError(f"{session} is {view.state.value} ({view.detail}), not {state.value}") from None


async def attempts(rig: Rig, account: str, after: int) -> list[str]:
    entries = await rig.staging.whole_journal(after=after, kinds=[ct.JournalKind.LOGIN], account=account)
    return [str(entry.data["answer"]) for entry in entries]


async def closed(rig: Rig, session: str, account: str) -> None:
    """The engine redials; one loss, one row."""
    before = await rig.staging.last()
    await strike(rig, account, ct.SetFault(kind=F.CLOSE, account=account))
    await rig.staging.wait_online(account, after=before, timeout_s=WAIT_S)
    view = await ends_in(rig, session, S.ONLINE)
    assert view.pid is not None


async def server_error(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(rig, account, ct.SetFault(kind=F.STREAM_ERROR, account=account, code=500))
    await rig.staging.wait_online(account, after=before, timeout_s=WAIT_S)
    await ends_in(rig, session, S.ONLINE)


async def half_open(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(rig, account, ct.SetFault(kind=F.STALL, account=account, duration_s=300))
    await rig.staging.wait_online(account, after=before, timeout_s=WAIT_S)
    await ends_in(rig, session, S.ONLINE)


async def hung_dial(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(
        rig,
        account,
        ct.SetFault(kind=F.NO_UPGRADE, account=account, count=1),
        ct.SetFault(kind=F.RESET, account=account),
    )
    await rig.staging.wait_online(account, after=before, timeout_s=WAIT_S)
    await ends_in(rig, session, S.ONLINE)


async def replaced(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(rig, account, ct.SetFault(kind=F.STREAM_ERROR, account=account, text="replaced"))
    view = await ends_in(rig, session, S.REPLACED)
    assert "Another program" in view.detail
    assert "other copy" in view.remedy
    await asyncio.sleep(QUIET_S)
    assert await attempts(rig, account, before) == []


async def removed(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(rig, account, ct.SetFault(kind=F.STREAM_ERROR, account=account, text="device_removed"))
    view = await ends_in(rig, session, S.NEEDS_PAIRING)
    assert f"amda pair {session}" in view.remedy
    await asyncio.sleep(QUIET_S)
    assert await attempts(rig, account, before) == []


def refused(code: int, state: SessionState) -> Case:
    """A login that WhatsApp refuses for good is tried once."""

    async def case(rig: Rig, session: str, account: str) -> None:
        before = await rig.staging.last()
        await strike(
            rig,
            account,
            ct.SetFault(kind=F.FAILURE, account=account, code=code),
            ct.SetFault(kind=F.RESET, account=account),
        )
        view = await ends_in(rig, session, state)
        assert str(code) in view.detail
        assert view.remedy
        await asyncio.sleep(QUIET_S)
        assert len(await attempts(rig, account, before)) == 1

    return case


async def unknown(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(
        rig,
        account,
        ct.SetFault(kind=F.FAILURE, account=account, code=409),
        ct.SetFault(kind=F.RESET, account=account),
    )
    view = await ends_in(rig, session, S.COOLING)
    assert "409" in view.detail
    await asyncio.sleep(QUIET_S)
    assert len(await attempts(rig, account, before)) == 3


async def refused_once(rig: Rig, session: str, account: str) -> None:
    before = await rig.staging.last()
    await strike(
        rig,
        account,
        ct.SetFault(kind=F.FAILURE, account=account, code=503, count=1),
        ct.SetFault(kind=F.CLOSE, account=account),
    )
    await rig.staging.wait_online(account, after=before, timeout_s=WAIT_S)
    await ends_in(rig, session, S.ONLINE)


CASES: dict[str, Case] = {
    "closed": closed,
    "server-error": server_error,
    "half-open": half_open,
    "hung-dial": hung_dial,
    "replaced": replaced,
    "removed": removed,
    "logged-out": refused(401, S.NEEDS_PAIRING),
    "locked": refused(403, S.NEEDS_PAIRING),
    "banned": refused(406, S.BANNED),
    "temporary-ban": refused(402, S.BANNED),
    "unknown": unknown,
    "refused-once": refused_once,
}
LAST = "outdated"
"""It concerns the whole fleet, so it comes when the others are done."""


SHOWN: dict[str, tuple[str, str, str]] = {
    "replaced": ("replaced", "Another program logged in", "Find and stop the other copy"),
    "removed": ("needs_pairing", "The linked device was removed", "amda pair removed --phone"),
    "logged-out": ("needs_pairing", "Code 401", "amda pair logged-out --phone"),
    "locked": ("needs_pairing", "WhatsApp locked the account", "amda pair locked --phone"),
    "banned": ("banned", "probably because of a ban. Code 406", "Open WhatsApp on the phone"),
    "temporary-ban": ("banned", "for a while. Code 402", "Open WhatsApp on the phone"),
    "unknown": ("cooling", "Code 409", "it goes on by itself"),
    LAST: ("outdated", "Code 405", "Upgrade the engine"),
}
"""State, explanation and remedy, as a person reads them."""


async def silent_after_the_code(rig: Rig) -> None:
    """What an account with a passkey looks like from here: the code is typed, and nothing comes. Asked for once."""
    name, phone = "passkey", phone_number(60)
    account = phone.lstrip("+")
    await rig.staging.add_account(ct.AddAccount(phone=phone))
    await rig.api.create_session(name)
    await rig.staging.set_fault(ct.SetFault(kind=F.PAIR_SILENT, account=account))
    await rig.staging.set_fault(ct.SetFault(kind=F.PAIR_REFS, code=1))  # nobody's yet: the code dies after 20 s
    before = await rig.staging.last()
    view = await rig.pair(name, phone)
    assert view.state is PairingState.EXPIRED
    text = await shown(rig, name)
    for part in ("new since", "passkey prompt", "typed wrong", "what to do"):
        assert part in text, text
    await asyncio.sleep(QUIET_S)
    asked = await rig.staging.whole_journal(after=before, kinds=[ct.JournalKind.PAIR_REQUESTED], account=account)
    assert len(asked) == 1


async def test_every_row_of_the_table() -> None:
    # the breaker would take a dozen faults at the same moment for an outage, which is a test of its own
    async with Rig(variables={"AMDA_FLEET_OUTAGE_MINIMUM": "99"}) as rig:
        phones = {name: phone_number(number) for number, name in enumerate([*CASES, LAST], start=1)}
        async with asyncio.TaskGroup() as group:
            for session, phone in phones.items():
                group.create_task(rig.link(session, phone))
        accounts = {name: phone.lstrip("+") for name, phone in phones.items()}
        results = await asyncio.gather(
            *(case(rig, name, accounts[name]) for name, case in CASES.items()), return_exceptions=True
        )
        failed = {name: result for name, result in zip(CASES, results, strict=True) if result is not None}
        assert not failed
        await refused(405, S.OUTDATED)(rig, LAST, accounts[LAST])
        texts = await asyncio.gather(*(shown(rig, name) for name in SHOWN))
        for text, parts in zip(texts, SHOWN.values(), strict=True):
            for part in parts:
                assert part in text, text
        await rig.staging.clear_faults()
        await silent_after_the_code(rig)
        for name, account in accounts.items():
            entries = await rig.staging.whole_journal(kinds=[ct.JournalKind.CLOSED], account=account)
            lost = [entry for entry in entries if entry.data.get("ready")]
            page = await rig.api.history(session=name)
            rows = [(row.reason, row.code) for row in page.items]
            assert len(rows) == len(lost) == 1, f"{name}: {rows}, {[entry.data for entry in lost]}"
        stats = await rig.staging.stats()
        assert stats.second_copies == 0
        assert stats.unknown_requests == 0
