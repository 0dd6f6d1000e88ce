"""`amda staging …` against a running network."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from appliance.cli.app import run

from .conftest import Engines, NetworkProcess
from .test_first_slice import ALICE, PHONE


class Cli:
    def __init__(self, network: NetworkProcess, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = str(network.folder)
        self._capsys = capsys

    async def __call__(self, *arguments: str, status: int = 0) -> str:
        """Run a command in a thread, as it has an event loop of its own; the answer is its standard output."""
        self._capsys.readouterr()
        try:
            found = await asyncio.to_thread(run, ["staging", *arguments, "--folder", self._folder])
        except SystemExit as end:
            found = int(end.code or 0)
        output = self._capsys.readouterr()
        assert found == status, output
        return output.out if status == 0 else output.err or output.out

    async def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(await self(*arguments, "--json", status=status))


@pytest.fixture
def cli(network: NetworkProcess, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(network, capsys)


async def test_accounts_messages_and_what_is_due(cli: Cli) -> None:
    assert "No accounts yet" in await cli("accounts")
    await cli("add-account", PHONE, "--name", "Awa", "--plan", "never")
    assert "no device" in await cli("accounts")
    (status_id,) = (await cli.json("send", PHONE, ALICE, "--kind", "image", "--where", "status"))["ids"]
    (chat_id,) = (await cli.json("send", PHONE, ALICE, "--text", "oublie"))["ids"]
    (hidden,) = (await cli.json("send", PHONE, ALICE, "--kind", "voice", "--view-once", "placeholder"))["ids"]
    await cli("revoke", PHONE, chat_id)
    await cli("reply", PHONE, hidden)
    due = await cli.json("due", PHONE)
    assert {item["message_id"] for item in due} == {status_id, chat_id, hidden}
    entries = [json.loads(line) for line in (await cli("journal", "--kind", "sent", "--json")).splitlines()]
    assert len(entries) == 5
    assert "oublie" not in await cli("journal", "--last", "100")


async def test_faults_are_set_listed_and_cleared(cli: Cli) -> None:
    identifier = (await cli("fault", "refuse", "--account", PHONE)).strip()
    assert "refuse" in await cli("faults")
    await cli("clear", identifier)
    assert "Nothing goes wrong" in await cli("faults")
    assert (await cli.json("info"))["faults"] == 0


async def test_mistakes_name_the_field_and_end_with_a_status(cli: Cli) -> None:
    assert "phone: not a phone number" in await cli("add-account", "abc", status=2)
    assert "account: no account" in await cli("send", PHONE, ALICE, status=2)
    await cli("add-account", PHONE)
    assert "message_id: nothing" in await cli("revoke", PHONE, "3A00", status=2)
    assert "code: 8 characters" in await cli("type-code", PHONE, "short", status=2)
    assert "no_request" in await cli("type-code", PHONE, "ABCD-EFGH", status=4)
    assert "view-once" in await cli("send", PHONE, ALICE, "--view-once", "payload", status=2)


async def test_a_second_network_in_the_folder_is_refused(network: NetworkProcess) -> None:
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "appliance.staging", "--folder", str(network.folder), stderr=asyncio.subprocess.PIPE
    )
    _, error = await asyncio.wait_for(second.communicate(), 20)
    assert second.returncode == 1
    assert error.decode().count("\n") == 1
    assert "runs in this folder already" in error.decode()
    assert (await network.client.info()).pid == network.process.pid  # type: ignore[union-attr]


async def test_what_nobody_taught_the_network_is_counted(network: NetworkProcess, engines: Engines) -> None:
    engine = await engines.linked(PHONE)
    before = (await network.client.stats()).unknown_requests
    with pytest.raises((RuntimeError, TimeoutError)):
        await engine.call("call", method="get_subscribed_newletters", timeout=10)
    assert (await network.client.stats()).unknown_requests > before == 0
