"""`amda demo`: the whole appliance with five simulated sessions on a WhatsApp server of our own; no phone, no root."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.common import CommandError, Exit
from appliance.language import _


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where everything is kept; otherwise demo/ in the checkout.")
    ] = None,
    no_tui: Annotated[
        bool, typer.Option("--no-tui", help="Follow the events here instead of showing the terminal interface.")
    ] = False,
) -> None:
    """Try everything without a phone: five simulated accounts with lively contacts, in the terminal interface.

    Leaving the interface ends it; with --no-tui, or without a terminal, the events are followed until q or Ctrl-C.
    Nothing leaves this machine, and nothing is written outside the folder. The next start goes on where this one ended.
    """
    import asyncio

    from appliance.cli.demo_run import DemoRunningError, run_demo
    from appliance.client import ClientError
    from appliance.embedded import AlreadyRunningError, EmbeddedError
    from appliance.places import demo_folder
    from appliance.staging.errors import StagingError

    interface = not no_tui and sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()
    try:
        asyncio.run(run_demo((folder or demo_folder()).expanduser().absolute(), interface=interface))
    except (DemoRunningError, AlreadyRunningError) as error:
        raise CommandError(str(error), status=Exit.REFUSED) from error
    except ClientError as error:
        raise CommandError(str(error), error.remedy) from error
    except (EmbeddedError, StagingError, OSError) as error:
        raise CommandError(str(error), _("See the files in logs/ of the demo's folder.")) from error
