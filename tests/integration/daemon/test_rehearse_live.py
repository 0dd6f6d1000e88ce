"""`amda rehearse live` with the real engine; the staging network is WhatsApp, and the phone and its owner are ours."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.bench.rig import Rig
from appliance.staging import control_types as ct

PHONE = "221771234567"
pytestmark = [pytest.mark.staging, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

ONE_AFTER_ANOTHER = {"AMDA_PAIRING_CODE_INTERVAL_S": "0.1", "AMDA_PAIRING_NUMBER_INTERVAL_S": "0.1"}
"""Otherwise the same number is shown a code once in ten minutes."""


class Operator:
    """Reads what the rehearsal says, and does on the phone what it asks for."""

    def __init__(self, rig: Rig, process: asyncio.subprocess.Process) -> None:
        self.rig = rig
        self.process = process
        self.said = ""

    async def until(self, pattern: str, limit_s: float = 90) -> str:
        """The first group of what it says next that matches."""
        assert self.process.stdout is not None
        begin = len(self.said)
        async with asyncio.timeout(limit_s):
            while not (found := re.search(pattern, self.said[begin:])):
                piece = await self.process.stdout.read(1000)
                assert piece, f"{pattern!r} was not said:\n{self.said}"
                self.said += piece.decode()
        return found[1] if found.groups() else found[0]

    async def end(self, limit_s: float = 60) -> tuple[int, str]:
        """The exit status, and what it said on its standard output alone."""
        assert self.process.stdout is not None
        async with asyncio.timeout(limit_s):
            self.said += (await self.process.stdout.read()).decode()
            return await self.process.wait(), self.said

    def answer(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())

    async def write(self) -> None:
        await self.rig.staging.own_phone_send(PHONE, ct.Send(account=PHONE, contact=PHONE, text=".vv"))

    async def link(self) -> None:
        code = await self.until(r"Code: ([A-Z0-9]{4}-[A-Z0-9]{4})")
        await self.rig.staging.type_code(f"+{PHONE}", code, now=True)

    async def send_picture(self) -> str:
        """Returns the id of the copy that comes back."""
        last = await self.rig.staging.last()
        picture = ct.Send(account=PHONE, contact=PHONE, kind=ct.SendKind.IMAGE, size=150_000)
        [sent] = await self.rig.staging.own_phone_send(PHONE, picture)
        await self.rig.staging.reply_trigger(PHONE, sent)
        came = await self.rig.staging.wait_for(ct.JournalKind.ARRIVED, account=PHONE, after=last, timeout_s=60)
        return came.message_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    async with Rig(variables=ONE_AFTER_ANOTHER) as made:
        await made.staging.add_account(ct.AddAccount(phone=f"+{PHONE}"))
        yield made


async def begin(rig: Rig, *options: str) -> Operator:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "rehearse", "live", *options),
        stdin=pipe, stdout=pipe, stderr=pipe if "--json" in options else asyncio.subprocess.STDOUT,
        env={**kept, "AMDA_CONFIG": str(rig.folder / "amda.toml"), "AMDA_PATHS_STATE_DIR": str(rig.folder / "state")},
    )  # fmt: skip
    return Operator(rig, process)


async def nothing_is_left(rig: Rig) -> bool:
    devices = [device for account in await rig.staging.accounts() for device in account.devices]
    return not devices and not await rig.api.sessions() and not [item async for item in rig.api.all_media()]


async def test_every_step_is_proved_and_the_report_can_be_sent(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    operator = await begin(rig, "--phone", f"+{PHONE}", "--report", str(file))
    await operator.until(r"Begin\?")
    assert await nothing_is_left(rig), "it asks before it begins"
    operator.answer("y")
    await operator.link()
    await operator.until(r"\[2/5\]")
    await operator.write()
    await operator.until(r"\[3/5\]")
    copy = await operator.send_picture()
    await operator.until("copy of the picture")
    operator.answer("perhaps")
    await operator.until("answer y or n")
    operator.answer("y")
    await operator.until("Written")
    await operator.write()
    operator.answer("y")
    await operator.until("gone from the list")
    operator.answer("y")
    status, said = await operator.end()
    assert status == 0, said
    report = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert re.search(r"verdict +passed", report)
    assert len(re.findall(r"^  \d\. \w+ +passed", report, re.MULTILINE)) == 5
    assert report in said.replace("\r", "")
    for secret in (PHONE, PHONE[5:], copy, *re.findall(r"[A-Z0-9]{4}-[A-Z0-9]{4}", operator.said)):
        assert secret not in report
    assert "22177" in report, "masked, and yet to be recognised"
    assert await nothing_is_left(rig)


async def test_ctrl_c_cleans_up_and_a_second_one_does_not_stop_that(rig: Rig, tmp_path: Path) -> None:
    operator = await begin(rig, "--phone", f"+{PHONE}", "--yes", "--report", str(tmp_path / "report.json"))
    await operator.link()
    await operator.until(r"\[2/5\]")
    operator.process.send_signal(signal.SIGINT)
    await operator.until("Cleaning up")
    operator.process.send_signal(signal.SIGINT)
    status, said = await operator.end()
    assert status == 130, said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["cleaned_up"] is True
    assert [step["outcome"] for step in report["steps"]] == ["passed", "interrupted"]
    assert await nothing_is_left(rig)


async def test_interrupted_while_the_code_is_shown_nothing_is_linked(rig: Rig) -> None:
    operator = await begin(rig, "--phone", f"+{PHONE}", "--yes")
    await operator.until(r"Code: [A-Z0-9]{4}-[A-Z0-9]{4}")
    operator.process.send_signal(signal.SIGTERM)
    status, said = await operator.end()
    assert status == 130, said
    assert await nothing_is_left(rig)


async def test_what_is_seen_on_the_phone_counts_and_the_result_is_json(rig: Rig) -> None:
    await rig.api.create_session("rehearsal-live", "amda rehearse live")  # of one whose machine lost its power
    process = (await begin(rig, "--phone", f"+{PHONE}", "--yes", "--json")).process
    assert process.stderr is not None
    assert process.stdout is not None
    operator = Operator(rig, process)
    result, process.stdout = process.stdout, process.stderr
    await operator.until("removed first")
    await operator.link()
    await operator.until(r"\[2/5\]")
    await operator.write()
    await operator.until(r"\[3/5\]")
    await operator.send_picture()
    await operator.until("copy of the picture")
    operator.answer("n")
    await operator.until("Written")
    await operator.write()
    operator.answer("y")
    await operator.until("gone from the list")
    assert process.stdin is not None
    process.stdin.close()  # nobody answers any more
    status, said = await operator.end()
    assert status == 1, said
    report = json.loads(await result.read())
    steps = {step["name"]: step for step in report["steps"]}
    assert {step["outcome"] for step in steps.values()} == {"passed"}
    assert steps["picture"]["seen"] is False
    assert steps["unlink"]["seen"] is None
    assert steps["picture"]["figures"]["bytes_received"] >= 100_000
    assert report["network"] == "staging"
    assert await nothing_is_left(rig)


async def test_a_session_of_somebody_else_is_not_touched(rig: Rig) -> None:
    await rig.api.create_session("rehearsal-live", "my best session")
    operator = await begin(rig, "--qr", "--yes")
    status, said = await operator.end()
    assert status == 4
    assert "no rehearsal has made it" in said
    assert (await rig.api.session("rehearsal-live")).name == "my best session"
    await rig.api.remove_session("rehearsal-live")


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "either --phone or --qr"), (("--qr", "--report", "/nowhere/at/all"), "Name another file")],
)
async def test_wrong_use_is_told(rig: Rig, options: tuple[str, ...], said: str) -> None:
    operator = await begin(rig, *options)
    status, out = await operator.end()
    assert status == 2
    assert said in out


async def test_without_an_answer_it_does_not_begin(rig: Rig) -> None:
    operator = await begin(rig, "--phone", f"+{PHONE}")
    operator.answer("n")
    await operator.until(r"Begin\?")
    operator.answer("n")
    status, said = await operator.end()
    assert (status, "not begun" in said) == (4, True)
    assert await nothing_is_left(rig)
