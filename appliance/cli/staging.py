"""`amda staging …`: run a staging network, and play the contacts, the phones and the failures on it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from appliance.cli.common import (
    CommandError,
    Exit,
    JsonOption,
    clock,
    print_json,
    print_table,
    printable,
    settings_of,
    size,
)
from appliance.language import _
from appliance.places import demo_folder
from appliance.staging.control_types import (
    AddAccount,
    DeviceView,
    FaultKind,
    JournalEntry,
    JournalKind,
    Mix,
    Send,
    SendKind,
    SetFault,
    Traffic,
    TypingPlan,
    ViewOnce,
    Where,
)

if TYPE_CHECKING:
    from appliance.staging.client import StagingClient

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True)

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help="The network's folder; otherwise that of the settings or of a demo."),
]
PhoneArgument = Annotated[str, typer.Argument(metavar="PHONE", help="Number of the account, with country code.")]
MessageArgument = Annotated[str, typer.Argument(metavar="MESSAGE", help="Id of a message that the account was sent.")]
_FOLLOW_LIMIT: Final = 1000
"""Journal entries of one answer while following."""


def _folder(folder: Path | None) -> Path:
    """Which network is meant. Raises CommandError."""
    if folder is not None:
        return folder.absolute()
    if configured := settings_of(None).network.staging:
        return configured
    demo = demo_folder() / "staging"
    if demo.is_dir():
        return demo
    raise CommandError(_("which staging network?"), _("give its folder: --folder DIR"), Exit.USAGE)


def _with_client(folder: Path | None, work: Callable[[StagingClient], Awaitable[T]]) -> T:
    """Run `work` with a client of the network; its errors become CommandErrors."""
    from appliance.staging.client import StagingClient
    from appliance.staging.errors import NotRunningError, RequestError

    async def connected() -> T:
        async with StagingClient(_folder(folder)) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except NotRunningError as error:
        raise CommandError(str(error), "amda staging run --folder DIR", Exit.NOT_RUNNING) from error
    except RequestError as error:
        raise CommandError(str(error), status=Exit.USAGE) from error
    except TimeoutError as error:
        raise CommandError(str(error), status=Exit.DEGRADED) from error


# ---- the network


@app.command()
def run(
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the network keeps its state.")],
    engine_library: Annotated[
        Path | None, typer.Option(help="Engine library to copy and patch; otherwise the installed one.")
    ] = None,
) -> None:
    """Run a staging network until Ctrl-C: a WhatsApp of our own on loopback. Its state is kept in the folder."""
    from appliance.staging.__main__ import serve

    if status := serve(folder, engine_library):
        raise typer.Exit(status)


@app.command()
def info(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """Where a running network is reached, and how it does."""

    async def ask(client: StagingClient) -> dict[str, object]:
        import msgspec

        return {**msgspec.to_builtins(await client.info()), **msgspec.to_builtins(await client.stats())}

    figures = _with_client(folder, ask)
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        print(f"{name:<17} {value}")


@app.command("add-engine")
def add_engine(
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help="Folder in which another engine's package lies.")],
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a copy of another engine's library that trusts this network; `amda engine upgrade` does it by itself."""
    made = _with_client(folder, lambda client: client.add_engine(engine.absolute()))
    if as_json:
        print_json(made)
    else:
        print(made.library)


@app.command()
def accounts(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """The accounts and their linked devices."""
    found = _with_client(folder, lambda client: client.accounts())
    if as_json:
        print_json(found)
        return
    rows = [
        (account.phone, account.name, account.plan, " ".join(map(_device, account.devices)) or _("no device"))
        for account in found
    ]
    header = _("PHONE|NAME|TYPES CODES|DEVICES")
    print_table(header, rows, _("No accounts yet: amda staging add-account PHONE"))


def _device(device: DeviceView) -> str:
    away = "" if device.online else " " + _("away")
    waiting = " " + _("({count} waiting)").format(count=device.pending) if device.pending else ""
    return f":{device.number}{away}{waiting}"


@app.command("add-account")
def add_account(
    phone: PhoneArgument,
    name: Annotated[str, typer.Option(help="Push name.")] = "",
    plan: Annotated[TypingPlan, typer.Option(help="What the phone does with a code.")] = TypingPlan.TYPE,
    delay_min: Annotated[float, typer.Option(help="Seconds before it types, at least.")] = 0.0,
    delay_max: Annotated[float, typer.Option(help="Seconds before it types, at most.")] = 0.0,
    history_texts: Annotated[int, typer.Option(help="Old messages that it pushes to a new device.")] = 0,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account, or change how its phone behaves."""
    request = AddAccount(
        phone=phone, name=name, plan=plan, delay_min_s=delay_min, delay_max_s=delay_max, history_texts=history_texts
    )
    account = _with_client(folder, lambda client: client.add_account(request))
    print_json(account) if as_json else print(f"{account.phone}  {account.name}  {account.plan}")


# ---- the phone


@app.command("type-code")
def type_code(
    phone: PhoneArgument,
    code: Annotated[str, typer.Argument(help="The code that the appliance shows.")],
    now: Annotated[bool, typer.Option("--now", help="At once, whatever the account's plan is.")] = False,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """The user types a code on the phone. Exit status: 0 accepted or planned, 4 otherwise."""
    result = _with_client(folder, lambda client: client.type_code(phone, code, now=now))
    delay = " " + _("in {seconds:.0f} s").format(seconds=result.delay_s) if result.delay_s else ""
    print_json(result) if as_json else print(result.outcome + delay)
    if result.outcome not in ("accepted", "planned"):
        raise typer.Exit(Exit.REFUSED)


@app.command()
def scan(
    phone: PhoneArgument,
    text: Annotated[str, typer.Argument(help="What the QR code says.")],
    folder: FolderOption = None,
) -> None:
    """The user scans a QR code with the phone."""
    _with_client(folder, lambda client: client.scan_qr(phone, text))


@app.command()
def unlink(
    phone: PhoneArgument,
    device: Annotated[int | None, typer.Option(help="Number of the device; otherwise all.")] = None,
    folder: FolderOption = None,
) -> None:
    """The user removes linked devices on the phone."""
    _with_client(folder, lambda client: client.unlink(phone, device))


@app.command()
def reply(
    phone: PhoneArgument,
    message: MessageArgument,
    text: Annotated[str, typer.Option(help="The answer.")] = ".vv",
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """The user answers a message on the phone, quoting it: how one asks the appliance for a view-once."""
    _print_ids([_with_client(folder, lambda client: client.reply_trigger(phone, message, text))], as_json=as_json)


# ---- contacts


@app.command()
def send(
    account: PhoneArgument,
    contact: Annotated[str, typer.Argument(help="Who writes; the account's own number: its phone.")],
    kind: Annotated[SendKind, typer.Option(help="What is sent.")] = SendKind.TEXT,
    where: Annotated[Where, typer.Option(help="Into the chat, as a status, into a group.")] = Where.CHAT,
    text: Annotated[str, typer.Option(help="Text or caption.")] = "",
    view_once: Annotated[ViewOnce, typer.Option(help="How a view-once is sent.")] = ViewOnce.NO,
    bytes_: Annotated[int, typer.Option("--bytes", help="Size of the media.")] = 0,
    to: Annotated[str, typer.Option(help="To whom, when the own phone writes.")] = "",
    count: Annotated[int, typer.Option(help="How many.")] = 1,
    damaged: Annotated[bool, typer.Option("--damaged", help="Unreadable at first: a retry is asked for.")] = False,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """A contact sends something to an account. Prints the ids of the messages."""
    request = Send(
        account=account, contact=contact, kind=kind, where=where, text=text, view_once=view_once, size=bytes_, to=to,
        count=count, damaged=damaged,
    )  # fmt: skip
    _print_ids(_with_client(folder, lambda client: client.send(request)), as_json=as_json)


@app.command()
def revoke(
    phone: PhoneArgument, message: MessageArgument, folder: FolderOption = None, as_json: JsonOption = False
) -> None:
    """The sender deletes a message for everyone."""
    _print_ids([_with_client(folder, lambda client: client.revoke(phone, message))], as_json=as_json)


@app.command()
def traffic(
    rate: Annotated[float, typer.Option(help="Messages a second, over all accounts.")] = 5.0,
    messages: Annotated[int, typer.Option(help="How many; 0: until the time is over.")] = 0,
    seconds: Annotated[float, typer.Option(help="How long; 0: until Ctrl-C of the network.")] = 60.0,
    statuses: Annotated[float, typer.Option(help="Weight of statuses; texts have 10, pictures 1.")] = 1.0,
    view_once: Annotated[float, typer.Option(help="Weight of view-once pictures.")] = 0.2,
    revoked: Annotated[float, typer.Option(help="Weight of messages that are deleted.")] = 0.5,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let contacts write by themselves to every linked account. Returns at once."""
    request = Traffic(
        per_second=rate, messages=messages, duration_s=seconds,
        mix=Mix(status=statuses, view_once=view_once, revoked=revoked),
    )  # fmt: skip
    _print_ids([_with_client(folder, lambda client: client.start_traffic(request))], as_json=as_json)


def _print_ids(ids: list[str], *, as_json: bool) -> None:
    print_json({"ids": ids}) if as_json else print("\n".join(ids))


# ---- failures


@app.command()
def fault(
    kind: Annotated[FaultKind, typer.Argument(help="What goes wrong.")],
    account: Annotated[str, typer.Option(help="Only for this account; otherwise for everybody.")] = "",
    device: Annotated[int | None, typer.Option(help="Only for this device of it.")] = None,
    code: Annotated[int, typer.Option(help="Number that goes with it: 503, 401, 429, 404 …")] = 0,
    text: Annotated[str, typer.Option(help="Word that goes with it: replaced, device_removed, a namespace.")] = "",
    percent: Annotated[float, typer.Option(help="How often it strikes.", min=0, max=100)] = 100.0,
    seconds: Annotated[float, typer.Option(help="How long; 0: until cleared.")] = 0.0,
    count: Annotated[int, typer.Option(help="How many times; 0: without limit.")] = 0,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let something go wrong. Prints the number by which `amda staging clear` ends it."""
    request = SetFault(
        kind=kind, account=account, device=device, code=code, text=text, percent=percent, duration_s=seconds,
        count=count,
    )  # fmt: skip
    view = _with_client(folder, lambda client: client.set_fault(request))
    print_json(view) if as_json else print(view.id)


@app.command()
def faults(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """What goes wrong at present."""
    found = _with_client(folder, lambda client: client.faults())
    if as_json:
        print_json(found)
        return
    rows = [
        (str(view.id), view.fault.kind, view.fault.account or _("everybody"), str(view.struck), clock(view.set_at))
        for view in found
    ]
    print_table(_("ID|FAULT|FOR|STRUCK|SINCE"), rows, _("Nothing goes wrong."))


@app.command()
def clear(
    identifier: Annotated[int | None, typer.Argument(metavar="[ID]", help="Which one; otherwise all.")] = None,
    folder: FolderOption = None,
) -> None:
    """End faults."""
    _with_client(folder, lambda client: client.clear_faults(identifier))


# ---- the journal


@app.command()
def journal(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(min=0, help="Begin with so many old entries.")] = 20,
    kind: Annotated[list[JournalKind] | None, typer.Option(help="Only these kinds; may be repeated.")] = None,
    account: Annotated[str, typer.Option(help="Only this account.")] = "",
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """What the network sent, what was receipted, who came and went. --json: one line per entry."""

    async def show(client: StagingClient) -> None:
        after = max(0, await client.last() - last)
        while True:
            entries = await client.journal(
                after=after, kinds=kind, account=account, limit=_FOLLOW_LIMIT, wait_s=20 if follow else 0
            )
            for entry in entries:
                print_json(entry) if as_json else _print_entry(entry)
            after = entries[-1].seq if entries else after
            if not follow:
                return

    _with_client(folder, show)


def _print_entry(entry: JournalEntry) -> None:
    data = " ".join(f"{name}={printable(str(value))}" for name, value in entry.data.items() if value != "")
    who = f"{entry.account}{f':{entry.device}' if entry.device else ''}"
    print(f"{clock(entry.at)}  {entry.kind:<15} {who:<18} {entry.message_id:<22} {data}".rstrip(), flush=True)


@app.command()
def due(phone: PhoneArgument, folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """What a perfect appliance has stored for an account by now."""
    captures = _with_client(folder, lambda client: client.captures_due(phone))
    if as_json:
        print_json(captures)
        return
    rows = [
        (capture.category, capture.kind, capture.message_id, size(capture.size), capture.sha256[:16],
         clock(capture.receipted_at))
        for capture in captures
    ]  # fmt: skip
    print_table(_("CATEGORY|KIND|MESSAGE|SIZE|SHA-256|RECEIPTED"), rows, _("Nothing is due."))
    print(_("({count} due)").format(count=len(captures)), file=sys.stderr)
