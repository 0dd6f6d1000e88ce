"""What every command shares: options, the way to the daemon, output as text or JSON, errors with their exit status."""

from __future__ import annotations

import asyncio
import datetime
import enum
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

from appliance.language import _, known, number

if TYPE_CHECKING:
    from appliance.client import ApplianceClient, ClientError
    from appliance.config import LoadedSettings, Settings

T = TypeVar("T")


class Exit(enum.IntEnum):
    """Exit statuses, for scripts."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    NOT_RUNNING = 5
    DEGRADED = 6
    """A part is away, or there was no answer in time: trying again later makes sense."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it."""


_EXIT_BY_STATUS: Final = {
    400: Exit.USAGE,
    404: Exit.NOT_FOUND,
    403: Exit.REFUSED,
    409: Exit.REFUSED,
    410: Exit.NOT_FOUND,
    413: Exit.USAGE,
    429: Exit.REFUSED,
    503: Exit.DEGRADED,
    504: Exit.DEGRADED,
}

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file; otherwise AMDA_CONFIG, a running demo, the default."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class CommandError(Exception):
    """A command cannot go on: one line, what to do, and the exit status."""

    def __init__(self, message: str, remedy: str = "", status: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.status = status


def settings_of(config: Path | None) -> Settings:
    """The settings that a command works with. Raises CommandError for a mistake in them."""
    return loaded_settings(config).settings


def loaded_settings(config: Path | None) -> LoadedSettings:
    """The same, with their file and where each value comes from."""
    from appliance.config import ConfigError, read_settings
    from appliance.places import CONFIG_VARIABLE, running_demo

    try:
        if config is None and CONFIG_VARIABLE not in os.environ and (demo := running_demo()):
            config = demo
        return read_settings(config)
    except ConfigError as error:
        raise CommandError(str(error), status=Exit.USAGE) from error


def with_client(config: Path | None, work: Callable[[ApplianceClient], Awaitable[T]]) -> T:
    """Run `work` with an open client of the daemon; every way to fail ends the process as `fail` says."""
    settings = settings_of(config)

    async def connected() -> T:
        from appliance.client import ApplianceClient

        async with ApplianceClient(settings.paths.api_socket) as client:
            return await work(client)

    return run_async(connected())


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; errors of the client become CommandErrors."""
    from appliance.client import ClientError

    try:
        return asyncio.run(work)
    except ClientError as error:
        raise CommandError(str(error), error.remedy, exit_of(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(Exit.INTERRUPTED) from None


def exit_of(error: ClientError) -> Exit:
    """The exit status that says what kind of error it is."""
    from appliance.client import ApiError, NotRunningError

    if isinstance(error, NotRunningError):
        return Exit.NOT_RUNNING
    if isinstance(error, ApiError):
        return _EXIT_BY_STATUS.get(error.problem.status, Exit.FAILED)
    return Exit.FAILED


def fail(error: CommandError, *, json: bool) -> NoReturn:
    """Say what is wrong and what to do, on standard error, and end."""
    if json:
        import msgspec

        content = {"error": str(error), "remedy": error.remedy, "exit_status": int(error.status)}
        print(msgspec.json.encode(content).decode(), file=sys.stderr)
    else:
        print(f"amda: {known(str(error))}", file=sys.stderr)
        if error.remedy:
            print("  " + _("what to do: {remedy}").format(remedy=known(error.remedy)), file=sys.stderr)
    sys.exit(error.status)


def print_json(value: object) -> None:
    """One JSON document on one line."""
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(header: str | Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Columns as wide as they need to be; the last one is not padded. `header`: the titles; with | between them they
    are one text to translate."""
    titles = header.split("|") if isinstance(header, str) else header
    lines = [titles, *rows]
    if len(lines) == 1:
        print(empty)
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def clock(at: float | None) -> str:
    """A time as people read it, in local time; with the date unless it is today."""
    if at is None:
        return "-"
    try:
        moment = datetime.datetime.fromtimestamp(at, datetime.UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # a sender may claim any time
        return "?"
    today = datetime.datetime.now(datetime.UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")


def size(count: int) -> str:
    """Bytes as people read them."""
    value = float(count)
    for unit, digits in ((_("B"), 0), (_("KB"), 1), (_("MB"), 1)):
        if value < 1000:
            return f"{number(value, digits)} {unit}"
        value /= 1000
    gigabytes = _("GB")
    return f"{number(value, 2)} {gigabytes}"


def printable(text: str) -> str:
    """Text from outside without characters that a terminal would obey."""
    return "".join(character if character.isprintable() else "·" for character in text)
