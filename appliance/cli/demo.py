"""`amda demo`: the whole appliance with five simulated sessions on a WhatsApp server of our own; no phone, no root."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from appliance.cli.common import CommandError, Exit


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where everything is kept; otherwise demo/ in the checkout.")
    ] = None,
    no_tui: Annotated[bool, typer.Option("--no-tui", help="Follow the events here.")] = False,
) -> None:
    """Try everything without a phone: five simulated accounts with lively contacts. q or Ctrl-C ends it.

    Nothing leaves this machine, and nothing is written outside the folder. The next start goes on where this one ended.
    """
    import asyncio

    from appliance.cli.demo_run import DemoRunningError, run_demo
    from appliance.client import ClientError
    from appliance.embedded import AlreadyRunningError, EmbeddedError
    from appliance.places import demo_folder
    from appliance.staging.errors import StagingError

    if not no_tui:
        print("(The terminal interface comes with a later release: the events are followed here.)")
    try:
        asyncio.run(run_demo((folder or demo_folder()).expanduser().absolute()))
    except (DemoRunningError, AlreadyRunningError) as error:
        raise CommandError(str(error), status=Exit.REFUSED) from error
    except ClientError as error:
        raise CommandError(str(error), error.remedy) from error
    except (EmbeddedError, StagingError, OSError) as error:
        raise CommandError(str(error), "See the files in logs/ of the demo's folder.") from error
