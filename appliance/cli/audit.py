"""`amda audit`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption, clock, print_json, print_table, printable, with_client
from appliance.cli.history import SinceOption, parse_since
from appliance.language import _
from appliance.model_access import Door

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.client_access import AuditConditions
    from appliance.model_access import AuditEntry


def register(app: typer.Typer) -> None:
    app.command()(audit)


def audit(
    since: SinceOption = None,
    session: Annotated[str | None, typer.Option(help="Only about this session.")] = None,
    who: Annotated[str | None, typer.Option(help="Only by this token or local user.")] = None,
    action: Annotated[str | None, typer.Option(help="Only what begins so: sessions, webhooks_create, login.")] = None,
    door: Annotated[Door | None, typer.Option(help="Only by this door.")] = None,
    refused: Annotated[
        bool | None, typer.Option("--refused/--done", help="Only what was refused or cut, or only what was done.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who did what, from which door, when; wrong tokens and what was refused at the door. --json prints all."""
    start = None if since is None else parse_since(since, time.time())
    asked: AuditConditions = {
        "since": start,
        "session": session,
        "who": who,
        "action": action,
        "door": door,
        "refused": refused,
    }
    if as_json:
        print_json(with_client(config, lambda client: _all(client, asked)))
        return
    page = with_client(config, lambda client: client.audit(limit=limit, **asked))
    rows = [
        (clock(entry.at), entry.who or "-", entry.door, printable(entry.address) or "-", _times(entry),
         str(entry.status or "-"), entry.session or "-", printable(f"{entry.target} {entry.detail}".strip()))
        for entry in page.items
    ]  # fmt: skip
    print_table(_("WHEN|WHO|DOOR|FROM|WHAT|RESULT|SESSION|WHERE"), rows, _("Nothing was done."))
    if page.next is not None:
        print(_("({count} shown; there are more: --limit, --json)").format(count=limit), file=sys.stderr)


async def _all(client: ApplianceClient, asked: AuditConditions) -> list[AuditEntry]:
    return [entry async for entry in client.all_audit(**asked)]


def _times(entry: AuditEntry) -> str:
    return entry.action if entry.count == 1 else f"{entry.action} × {entry.count}"
