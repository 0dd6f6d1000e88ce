"""`amda token` and `amda audit` print what a script or a person needs: the secret alone on standard output, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import audit, token
from appliance.cli.app import run
from appliance.model_access import AuditEntry, AuditPage, NewToken, TokenView
from appliance.model_api import Scope

VIEW = TokenView(
    id="0123456789ab",
    name="back end",
    scope=Scope.OPERATE,
    session=None,
    created_at=1.0,
    created_by="user:root",
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
    last_address="",
)
ENTRY = AuditEntry(
    id=1,
    at=1.0,
    who="token:back end",
    door="tcp",
    address="192.0.2.7",
    action="sessions_start",
    target="/v1/sessions/anna/start",
    session="anna",
    status=200,
    detail="",
    count=3,
)


class FakeClient:
    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def create_token(self, *names: Any, **more: Any) -> NewToken:
        self.asked.append((*names, more))
        return NewToken(secret="amda_0123456789ab_x", details=VIEW)

    async def tokens(self, *, everything: bool) -> list[TokenView]:
        self.asked.append((everything,))
        return [VIEW]

    async def audit(self, **more: Any) -> AuditPage:
        self.asked.append((more,))
        return AuditPage(items=[ENTRY], next=1)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    made = FakeClient()

    def with_client(_config: Path | None, work: Callable[[FakeClient], Awaitable[Any]]) -> Any:
        async def called() -> Any:
            return await work(made)

        return asyncio.run(called())

    for module in (audit, token):
        monkeypatch.setattr(module, "with_client", with_client)
    return made


def test_the_secret_stands_alone(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "create", "back end", "--scope", "operate", "--session", "anna", "--expires", "2h"]) == 0
    out, err = capsys.readouterr()
    assert out == "amda_0123456789ab_x\n"
    assert "shown this once" in err
    assert client.asked == [("back end", Scope.OPERATE, {"session": "anna", "expires_in_s": 7200.0})]


def test_a_life_that_is_none_is_refused(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["token", "create", "x", "--expires", "soon"])
    assert "no duration" in capsys.readouterr().err
    assert client.asked == []


def test_tokens_are_listed(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "list"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == [*["0123456789ab", "back", "end", "operate", "all"], *line.split()[5:]]
    assert "revoked by hand" in line
    assert run(["token", "list", "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == VIEW.id
    assert client.asked == [(False,), (True,)]


def test_the_audit_says_who_what_and_how_often(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "--session", "anna", "--who", "back end"]) == 0
    out, err = capsys.readouterr()
    assert "token:back end  tcp   192.0.2.7  sessions_start × 3  200" in out
    assert "there are more" in err
    asked = {"session": "anna", "who": "back end", "limit": 50}
    assert [{key: value for key, value in one.items() if value is not None} for (one,) in client.asked] == [asked]
