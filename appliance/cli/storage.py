"""`amda storage …`."""

from __future__ import annotations

import asyncio
import enum
import re
import sys
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    clock,
    print_json,
    print_table,
    size,
    with_client,
)
from appliance.model import Category

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model_storage import StorageJob

app = typer.Typer(no_args_is_help=True)


class StoreKind(enum.StrEnum):
    FOLDER = "folder"
    S3 = "s3"


FOLLOW_S: Final = 0.5
"""How often somebody who waits is told how far it is."""
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
"""As `size` prints them."""


@app.command()
def usage(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """How much is stored, for whom, since when; and how long the quota will last."""
    found = with_client(config, lambda client: client.storage())
    if as_json:
        print_json(found)
        return
    print(f"store     {found.store}")
    print(f"used      {size(found.used)} of {size(found.quota)} ({found.share:.0%}), pruning: {found.prune_mode}")
    held = sum(row.size for row in found.rows)
    if 0 < held < found.original_size:
        saved = found.original_size - held
        print(f"saved     {size(saved)} ({saved / found.original_size:.0%}) by making media smaller")
    print(f"pinned    {size(found.pinned)}")
    if found.foreign:
        print(f"foreign   {size(found.foreign)}: in the store, counted, and not the appliance's own")
    left = "-" if found.days_left is None else f"{found.days_left:.0f} days until it is full if nothing goes"
    print(f"trend     {size(round(found.per_day))} a day; {left}\n")
    rows = [
        (row.session, row.category, row.age, str(row.items), size(row.size), size(row.pinned)) for row in found.rows
    ]
    print_table(("SESSION", "CATEGORY", "AGE", "ITEMS", "SIZE", "PINNED"), rows, "Nothing is stored yet.")


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    older_than: Annotated[str | None, typer.Option(metavar="TIME", help="Only what is older: 12h, 7d, 4w.")] = None,
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only of this category.")] = None,
    to_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Only until no more than this is used: 500M, 2G.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what age and quota ask for, or what the options name. Pinned items never go."""
    from appliance.cli.history import parse_since
    from appliance.model_storage import PruneRequest

    now = time.time()
    request = PruneRequest(
        dry_run=dry_run,
        older_than_s=None if older_than is None else max(0.0, now - parse_since(older_than, now)),
        session=session,
        category=category,
        to_size=None if to_size is None else parse_size(to_size),
    )
    report = with_client(config, lambda client: client.prune(request))
    if as_json:
        print_json(report)
        return
    verb = "would go" if report.dry_run else "removed"
    print(f"{report.objects} {verb}, {size(report.size)}; {size(report.used)} left")
    rows = [(name, size(count)) for name, count in sorted(report.by_session.items())]
    if rows:
        print_table(("SESSION", "SIZE"), rows, "")


@app.command()
def check(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Delete what nothing refers to; take what is lost or damaged out of the index, on record."
        ),
    ] = False,
    hashes: Annotated[bool, typer.Option("--hashes", help="Read every byte. Takes as long as that takes.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the index with the store itself, both ways. Ends with 1 if something is wrong that was not repaired."""
    job = with_client(
        config, lambda client: _follow(client, client.check_storage(repair=repair, hashes=hashes), quiet=as_json)
    )
    report = job.check
    if report is None:
        raise CommandError("the check ended without a report", "Try again.")
    if as_json:
        print_json(report)
    else:
        done = " (repaired)" if report.repaired else ""
        print(f"objects   {report.objects}, {size(report.size)}")
        print(f"missing   {report.missing}{done}")
        how = "" if report.hashes else " (by size alone; every byte is read with --hashes)"
        print(f"damaged   {report.damaged}{done}{how}")
        print(f"strays    {report.strays}, {size(report.stray_size)}{done}")
        print(f"foreign   {report.foreign}, {size(report.foreign_size)}: not the appliance's own, never deleted")
        if report.repaired:
            print(f"unfinished uploads taken back: {report.leftovers}, {size(report.leftover_size)}")
        for key in report.named:
            print(f"  {key}")
    if not repair and (report.missing or report.damaged or report.strays):
        sys.exit(Exit.FAILED)


@app.command()
def move(
    to: Annotated[StoreKind, typer.Option("--to", help="Where all media shall lie.")],
    remove_old: Annotated[
        bool, typer.Option("--remove-old", help="Delete the old copies once everything is compared and switched.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy all media to another store, compare, and switch; the appliance goes on working.

    It begins with a verified backup of index and settings. Stopped at any moment, the same command goes on from there.
    """
    job = with_client(
        config, lambda client: _follow(client, client.move_storage(to.value, remove_old=remove_old), quiet=as_json)
    )
    report = job.move
    if report is None:
        raise CommandError("the move ended without a report", "Try again.")
    if as_json:
        print_json(report)
        return
    if report.backup:
        print(f"{report.copied} objects copied and compared; media lies in {to.value} now")
        print(f"index and settings as they were: {report.backup}")
        print(f'write it into the settings, too: storage.kind = "{to.value}"')
    if report.removed or remove_old:
        print(f"{report.removed} old copies deleted from the {report.old}")
    else:
        print(f"the old copies are still in the {report.old}; delete them: amda storage move --to {to} --remove-old")


@app.command()
def job(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The check or move that is under way, or the last one."""
    found = with_client(config, lambda client: client.storage_job())
    if as_json:
        print_json(found)
    elif found is None:
        print("There was no check and no move since the daemon started.")
    else:
        print(f"{found.kind}  {found.state}  {found.done} of {found.total} objects  since {clock(found.started_at)}")
        if found.error:
            print(f"  {found.error}")


@app.command()
def removals(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is no longer stored, since when, and why."""
    found = with_client(config, lambda client: client.removals(limit))
    if as_json:
        print_json(found)
        return
    rows = [(clock(item.at), item.session, item.category, item.kind, size(item.size), item.reason) for item in found]
    print_table(("REMOVED", "SESSION", "CATEGORY", "KIND", "SIZE", "REASON"), rows, "Nothing was removed yet.")


@app.command()
def refusals(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was captured and could not be stored for want of room."""
    found = with_client(config, lambda client: client.refusals(limit))
    if as_json:
        print_json(found)
        return
    rows = [(clock(item.at), item.session, item.category, item.kind, size(item.size), item.reason) for item in found]
    print_table(("REFUSED", "SESSION", "CATEGORY", "KIND", "SIZE", "REASON"), rows, "Nothing was refused.")
    if found:
        print("(make room: amda storage prune, or raise storage.quota_bytes)", file=sys.stderr)


async def _follow(client: ApplianceClient, begin: Awaitable[StorageJob], *, quiet: bool) -> StorageJob:
    """Until the job ends, with its progress on standard error. Raises CommandError if it failed."""
    from appliance.model_storage import JobState

    started = await begin
    show = sys.stderr.isatty() and not quiet
    while True:
        found = await client.storage_job()
        if found is None or found.id != started.id:
            raise CommandError("the daemon was restarted meanwhile", "Give the same command again: it goes on.")
        if show:
            print(f"\r{found.kind}: {found.done} of {found.total} objects ", end="", file=sys.stderr, flush=True)
        if found.state is not JobState.RUNNING:
            break
        await asyncio.sleep(FOLLOW_S)
    if show:
        print(file=sys.stderr)
    if found.state is JobState.FAILED:
        reason, _, remedy = found.error.partition("; ")
        raise CommandError(reason, remedy)
    return found


def parse_size(text: str) -> int:
    """Bytes. Raises CommandError for a text that is no size.

    >>> parse_size("2G"), parse_size("1.5M"), parse_size("300")
    (2000000000, 1500000, 300)
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise CommandError(f"{text} is no size", "Write it like 500M or 2G.", Exit.USAGE)
    return round(float(match[1]) * _UNITS[match[2]])
