"""`amda history`, `amda alert` and `amda logs` as a script sees them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.events import EventBus
from appliance.model import SessionState
from appliance.sessions.inputs import CloseRows, OpenRow
from appliance.sessions.policy import Action
from appliance.sessions.reasons import DisconnectReason
from tests.integration.history.receiver import Receiver
from tests.integration.history.rig import Rig


class Amda:
    def __init__(self, folder: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        self.environment = {**kept, "AMDA_PATHS_STATE_DIR": str(folder), "TZ": "UTC", "COLUMNS": "200"}

    async def __call__(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "appliance", *arguments), stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment
        )
        async with asyncio.timeout(30):
            out, err = await process.communicate(given.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
def amda(tmp_path: Path) -> Amda:
    return Amda(tmp_path)


@pytest.fixture
async def rig(tmp_path: Path, database: Database, bus: EventBus, receiver: Receiver) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, database, bus, webhook_url=receiver.url)
    made.now = time.time()
    await made.history.load()
    await made.serve()
    yield made
    await made.close()


async def test_history(rig: Rig, amda: Amda, tmp_path: Path) -> None:
    await rig.add("awa", SessionState.ONLINE)
    assert (await amda("history"))[:2] == (0, "No disconnections.\n")
    for number, reason in enumerate((DisconnectReason.SOCKET_CLOSED, DisconnectReason.DEVICE_REMOVED)):
        row = OpenRow(
            at=rig.now - 7200 + number,
            reason=reason,
            connected_at=0,
            uptime_s=90,
            action=Action.REDIAL,
            charged=False,
            code=401,
        )
        await rig.ledger.write("awa", 1, [row, CloseRows(at=row.at + 4)], "0.5.2")
    status, out, _ = await amda("history", "--since", "1d", "--session", "awa")
    assert status == 0
    assert "device_removed" in out
    assert "1 min 30 s" in out
    assert len(json.loads((await amda("history", "--json"))[1])) == 2
    assert json.loads((await amda("history", "--json", "--since", "1h"))[1]) == []
    status, out, _ = await amda("history", "--stats", "--since", "1d")
    assert status == 0
    assert "2 disconnections since" in out
    assert "socket_closed" in out
    assert "back by itself: 2 times, p50" in out
    assert json.loads((await amda("history", "--stats", "--json"))[1])["total"] == 2
    file = tmp_path / "out.csv"
    assert (await amda("history", "--csv", str(file)))[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(list(csv.DictReader(io.StringIO(file.read_text())))) == 2
    assert (await amda("history", "--csv", "-"))[1].replace("\r\n", "\n") == file.read_text()
    for arguments, expected in (
        (("--csv", str(file)), 4),
        (("--since", "yesterday"), 2),
        (("--reason", "bad_weather"), 2),
        (("--csv", "-", "--stats"), 2),
    ):
        status, _, err = await amda("history", *arguments)
        assert status == expected
        assert len(err.splitlines()) == 2


async def test_alerts(rig: Rig, amda: Amda, receiver: Receiver) -> None:
    assert (await amda("alert", "list"))[:2] == (0, "Nothing is alarming.\n")
    await rig.add("awa", SessionState.NEEDS_PAIRING)
    await rig.judge()
    [alert] = json.loads((await amda("alert", "list", "--json"))[1])
    assert "needs_pairing" in (await amda("alert", "list"))[1]
    assert (await amda("alert", "ack", alert["id"]))[0] == 0
    assert (await amda("alert", "ack", "nothing"))[0] == 3
    [silence] = json.loads((await amda("alert", "silence", "2h", "--rule", "needs_pairing", "--json"))[1])
    assert "needs_pairing" in (await amda("alert", "silence"))[1]
    assert (await amda("alert", "silence", "--end", silence["id"]))[0] == 0
    assert (await amda("alert", "silence", "soon"))[0] == 2
    assert (await amda("alert", "test"))[0] == 0
    receiver.status = 500
    status, out, _ = await amda("alert", "test")
    assert status == 6
    assert "webhook answered 500" in out
    assert "replaced" in (await amda("alert", "rules"))[1]


async def test_persons(rig: Rig, amda: Amda) -> None:
    await rig.add("awa", SessionState.ONLINE)
    status, out, _ = await amda(
        "alert", "person", "awa", "--name", "Awa", "--contact", "-", given="tgram://12:secret/42\n"
    )
    assert (status, out) == (0, "awa: Awa (fr) by tgram://···\n")
    assert (await amda("alert", "person", "awa"))[1] == out
    assert (await amda("alert", "person", "awa", "--name", "Awa"))[0] == 2
    assert (await amda("alert", "person", "awa", "--remove"))[0] == 0
    assert (await amda("alert", "person", "awa"))[0] == 3


async def test_logs_with_and_without_the_daemon(rig: Rig, amda: Amda, tmp_path: Path) -> None:
    store = tmp_path / "sessions" / "awa" / "one"
    store.mkdir(parents=True)
    (store / "worker.log").write_text("one\ncalled +221771234512\n")
    await rig.add("awa", SessionState.ONLINE, store)
    expected = "one\ncalled +22177·····12\n"
    assert (await amda("logs", "awa"))[:2] == (0, expected)
    assert (await amda("logs", "awa", "-n", "1", "--json"))[1] == '{"line":"called +22177·····12"}\n'
    await rig.close()
    status, out, err = await amda("logs", "awa")
    assert (status, out) == (0, expected)
    assert "not running" in err
    assert (await amda("logs", "nobody"))[0] == 3
    assert (await amda("logs", "awa", "--follow"))[0] == 5
