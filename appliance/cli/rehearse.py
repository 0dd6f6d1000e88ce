"""`amda rehearse …`: the operator's own checks of the real thing; `amda bench` has those on a network of our own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    print_json,
    run_async,
    settings_of,
)
from appliance.language import _

if TYPE_CHECKING:
    from appliance.cli.rehearse_operator import Operator
    from appliance.cli.rehearse_report import Report
    from appliance.config import Settings

app = typer.Typer(help="Checks of the real thing, with a real phone.", no_args_is_help=True)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_BEGIN_S: Final = 600.0
"""Somebody may have to fetch the phone first."""


@app.callback()
def _root() -> None:
    """Checks of the real thing, with a real phone."""


@app.command()
def live(
    phone: Annotated[str | None, typer.Option(help="Number with country code: link it by a code.")] = None,
    qr: Annotated[bool, typer.Option("--qr", help="Link it by a QR code instead.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin without asking.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report there as well; as JSON if it ends in .json.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try this appliance with one real number: link, message, picture, restart, unlink. Five minutes, with a phone.

    What is said on the phone is asked for step by step. The number may have other linked devices; it must not be linked
    to this appliance. Nothing of the account is kept: only what is sent to oneself for this purpose is looked at, and
    everything is removed at the end, also after Ctrl-C. The report holds no names, numbers or messages.
    Exit status: 0 all passed, 1 something did not, 4 not begun, 130 interrupted (and cleaned up).
    """
    if qr == (phone is not None):
        remedy = _("amda rehearse live --phone +221…, or: amda rehearse live --qr")
        raise CommandError(_("give either --phone or --qr"), remedy, Exit.USAGE)
    if report is not None and (report.exists() or not report.absolute().parent.is_dir()):
        raise CommandError(
            _("{path} is there already, or its folder is not").format(path=report), _("Name another file."), Exit.USAGE
        )
    made, interrupted = run_async(_live(settings_of(config), phone, yes=yes, as_json=as_json))
    _tell(made, report, as_json=as_json)
    if interrupted:
        raise typer.Exit(Exit.INTERRUPTED)
    if not made.passed:
        raise typer.Exit(Exit.FAILED)


async def _live(settings: Settings, phone: str | None, *, yes: bool, as_json: bool) -> tuple[Report, bool]:
    """The report, and whether it was interrupted."""
    from appliance.cli.rehearse_live import Rehearsal, StepError
    from appliance.cli.rehearse_operator import Operator
    from appliance.client import ApplianceClient

    interrupted = False
    loop = asyncio.get_running_loop()
    with Operator(sys.stderr if as_json else sys.stdout) as operator:
        async with ApplianceClient(settings.paths.api_socket) as client:
            network = (await client.status()).network
            if not yes and not await _agreed(operator, network):
                raise CommandError(_("not begun"), _("Answer y when asked, or add --yes."), Exit.REFUSED)
            work = asyncio.create_task(Rehearsal(client, operator, phone=phone).run())

            def interrupt() -> None:
                nonlocal interrupted
                if interrupted:  # an impatient second Ctrl-C must not leave a linked device behind
                    operator.say(_("A moment: it is being cleaned up."))
                else:
                    interrupted = True
                    work.cancel()

            for number in _SIGNALS:
                loop.add_signal_handler(number, interrupt)
            try:
                return await work, interrupted
            except StepError as error:
                remedy = _("Remove it, if nobody needs it: amda session list")
                raise CommandError(str(error), remedy, Exit.REFUSED) from error
            finally:
                for number in _SIGNALS:
                    loop.remove_signal_handler(number)


async def _agreed(operator: Operator, network: str) -> bool:
    for line in (
        _("This links one real WhatsApp account to this appliance, and unlinks it again:"),
        _("  1. link: a code is shown; you type it on the phone"),
        _("  2. message: you write one to yourself; it must arrive here"),
        _("  3. picture: you send one to yourself; it is stored, and a copy is sent back to you"),
        _("  4. restart: the session is stopped, you write once more, it starts; the message must arrive"),
        _("  5. unlink: the device is removed at WhatsApp, and everything of it here"),
        _("Nothing else of the account is looked at or kept. It takes five minutes; Ctrl-C ends it and cleans up."),
    ):
        operator.say(line)
    if network != "whatsapp":
        operator.say(
            _("NOTE: this appliance is set to the {network} network, not to WhatsApp.").format(network=network)
        )
    return await operator.confirm(_("Begin?"), _BEGIN_S) is True


def _tell(made: Report, path: Path | None, *, as_json: bool) -> None:
    from appliance.cli.rehearse_report import as_text, write

    if as_json:
        print_json(made)
    else:
        print()
        print(as_text(made))
    if path is None:
        return
    try:
        write(made, path)
    except OSError as error:
        raise CommandError(_("{path}: {reason}").format(path=path, reason=error.strerror or error)) from error
    print(_("The report is in {path}.").format(path=path), file=sys.stderr)
