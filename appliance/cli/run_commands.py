"""`amda run` and `amda daemon`."""

from __future__ import annotations

import typer

from appliance.cli.common import CommandError, ConfigOption, Exit, loaded_settings, settings_of
from appliance.language import _


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(daemon)
    app.command("fork-server")(fork_server)


def run(config: ConfigOption = None) -> None:
    """Run the whole appliance in this terminal until Ctrl-C: Redis, fork server, daemon and all sessions."""
    import asyncio

    asyncio.run(_run(config))


async def _run(config: ConfigOption) -> None:
    from appliance.embedded import AlreadyRunningError, EmbeddedAppliance, EmbeddedError

    settings = settings_of(config)
    appliance = EmbeddedAppliance(settings, config=config)

    def tell() -> None:
        words = _("The appliance runs in {folder}; in another terminal: amda status. Ctrl-C ends it.")
        print(words.format(folder=appliance.state_dir), flush=True)

    try:
        await appliance.run(tell)
    except AlreadyRunningError as error:
        raise CommandError(str(error), status=Exit.REFUSED) from error
    except (EmbeddedError, OSError) as error:
        raise CommandError(str(error)) from error


def daemon(config: ConfigOption = None) -> None:
    """Run the daemon alone; Redis and fork server are somebody else's (systemd's, or `amda run`'s)."""
    import asyncio

    from appliance.daemon import DaemonError, run_daemon

    loaded = loaded_settings(config)
    try:
        asyncio.run(run_daemon(loaded))
    except DaemonError as error:
        raise CommandError(str(error), status=Exit.REFUSED) from error


def fork_server(config: ConfigOption = None) -> None:
    """Run the fork server alone, whose children are the sessions; for systemd, which keeps it running."""
    import os
    import sys

    from appliance.build import engine_environment
    from appliance.children import package_environment
    from appliance.forkserver.successor import command
    from appliance.network import NetworkError, network_environment

    settings = settings_of(config)
    try:
        environment = package_environment(os.environ) | network_environment(settings.network.staging)
    except NetworkError as error:
        raise CommandError(str(error), status=Exit.DEGRADED) from error
    environment |= engine_environment(environment)
    # Executed, not called: nothing that this command has imported shall be inherited by sixty workers.
    os.execve(sys.executable, command(sys.executable, "--socket", str(settings.paths.fork_socket)), environment)  # noqa: S606
