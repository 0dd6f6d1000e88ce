"""`amda storage …`."""

from __future__ import annotations

import asyncio
import enum
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
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
from appliance.language import _, known, ngettext
from appliance.model import Category

if TYPE_CHECKING:
    from appliance.client import ApplianceClient
    from appliance.model_storage import CheckReport, PruneReport, PruneRequest, StorageJob, StorageUsage

app = typer.Typer(no_args_is_help=True)


class StoreKind(enum.StrEnum):
    FOLDER = "folder"
    S3 = "s3"


FOLLOW_FIRST_S: Final = 0.02
"""Before the second look: most jobs take no time at all. Each pause is twice the one before, up to …"""
FOLLOW_S: Final = 0.5
"""… so much: how often somebody who waits is told how far it is."""
BAR: Final = 20
"""Characters of a bar."""
_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
"""As `size` prints them."""


@app.command()
def usage(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """How much is stored, for whom, since when; and how long the quota will last."""
    found = with_client(config, lambda client: client.storage())
    if as_json:
        print_json(found)
        return
    for label, text in _usage_lines(found):
        print(f"{label:<10}{text}")
    print()
    rows = [
        (row.session, row.category, row.age, str(row.items), size(row.size), size(row.pinned)) for row in found.rows
    ]
    print_table(_("SESSION|CATEGORY|AGE|ITEMS|SIZE|PINNED"), rows, _("Nothing is stored yet."))


def _usage_lines(found: StorageUsage) -> Iterator[tuple[str, str]]:
    yield _("store"), found.store
    words = _("{used} of {quota} ({share:.0%}), pruning: {mode}")
    used = words.format(used=size(found.used), quota=size(found.quota), share=found.share, mode=found.prune_mode)
    yield _("used"), used
    held = sum(row.size for row in found.rows)
    if 0 < held < found.original_size:
        saved = found.original_size - held
        words = _("{size} ({share:.0%}) by making media smaller")
        yield _("saved"), words.format(size=size(saved), share=saved / found.original_size)
    yield _("pinned"), size(found.pinned)
    if found.foreign:
        words = _("{size}: in the store, counted, and not the appliance's own")
        yield _("foreign"), words.format(size=size(found.foreign))
    left = "-"
    if found.days_left is not None:
        left = _("{days:.0f} days until it is full if nothing goes").format(days=found.days_left)
    yield _("trend"), _("{size} a day; {left}").format(size=size(round(found.per_day)), left=left)


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
    """Remove what age and quota ask for, or what the options name. Pinned items never go.

    Interrupted (Ctrl-C) it leaves the rest; what has gone is gone.
    """
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

    async def work(client: ApplianceClient) -> PruneReport | None:
        if dry_run:
            return await client.prune(request)
        return (await _follow_prune(client, request, quiet=as_json)).prune

    report = with_client(config, work)
    if report is None:
        raise CommandError(_("the prune ended without a report"), _("Try again."))
    if as_json:
        print_json(report)
        return
    _print_pruned(report)


def _print_pruned(report: PruneReport) -> None:
    if report.dry_run:
        gone = ngettext("{count} would go", "{count} would go", report.objects)
    else:
        gone = ngettext("{count} removed", "{count} removed", report.objects)
    print(f"{gone}, {size(report.size)}; {_('{size} left').format(size=size(report.used))}")
    if report.stopped:
        print(_("It was stopped: the rest stays until you prune again."))
    rows = [(name, size(count)) for name, count in sorted(report.by_session.items())]
    if rows:
        print_table(_("SESSION|SIZE"), rows, "")


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
        raise CommandError(_("the check ended without a report"), _("Try again."))
    if as_json:
        print_json(report)
    else:
        for label, text in _check_lines(report):
            print(f"{label:<11}{text}")
        if report.repaired:
            words = _("unfinished uploads taken back: {count}, {size}")
            print(words.format(count=report.leftovers, size=size(report.leftover_size)))
        for key in report.named:
            print(f"  {key}")
    if not repair and (report.missing or report.damaged or report.strays):
        sys.exit(Exit.FAILED)


def _check_lines(report: CheckReport) -> Iterator[tuple[str, str]]:
    done = " " + _("(repaired)") if report.repaired else ""
    yield _("objects"), f"{report.objects}, {size(report.size)}"
    yield _("missing"), f"{report.missing}{done}"
    how = "" if report.hashes else " " + _("(by size alone; every byte is read with --hashes)")
    yield _("damaged"), f"{report.damaged}{done}{how}"
    yield _("strays"), f"{report.strays}, {size(report.stray_size)}{done}"
    words = _("{count}, {size}: not the appliance's own, never deleted")
    yield _("foreign"), words.format(count=report.foreign, size=size(report.foreign_size))


@app.command()
def cleanup(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only tell.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repair what `check` finds, then remove what age and quota ask for. Pinned items never go."""
    job = with_client(config, lambda client: _follow(client, client.clean_storage(dry_run=dry_run), quiet=as_json))
    report = job.cleanup
    if report is None:
        raise CommandError(_("the cleanup ended without a report"), _("Try again."))
    if as_json:
        print_json(report)
        return
    for label, text in _check_lines(report.check):
        print(f"{label:<11}{text}")
    _print_pruned(report.prune)


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
        raise CommandError(_("the move ended without a report"), _("Try again."))
    if as_json:
        print_json(report)
        return
    if report.backup:
        words = _("{count} objects copied and compared; media lies in {store} now")
        print(words.format(count=report.copied, store=to.value))
        print(_("index and settings as they were: {file}").format(file=report.backup))
        print(_("write it into the settings, too: {setting}").format(setting=f'storage.kind = "{to.value}"'))
    if report.removed or remove_old:
        print(_("{count} old copies deleted from the {store}").format(count=report.removed, store=report.old))
    else:
        words = _("the old copies are still in the {store}; delete them: {command}")
        print(words.format(store=report.old, command=f"amda storage move --to {to} --remove-old"))


@app.command()
def job(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The check, cleanup, move or prune that is under way, or the last one."""
    found = with_client(config, _latest)
    if as_json:
        print_json(found)
    elif found is None:
        print(_("There was no check, no cleanup, no move and no prune since the daemon started."))
    else:
        words = _("{kind}  {state}  {done} of {total} objects  since {time}")
        since = clock(found.started_at)
        print(words.format(kind=found.kind, state=found.state, done=found.done, total=found.total, time=since))
        if found.error:
            print(f"  {known(found.error)}")


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
    print_table(_("REMOVED|SESSION|CATEGORY|KIND|SIZE|REASON"), rows, _("Nothing was removed yet."))


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
    print_table(_("REFUSED|SESSION|CATEGORY|KIND|SIZE|REASON"), rows, _("Nothing was refused."))
    if found:
        print(_("(make room: amda storage prune, or raise storage.quota_bytes)"), file=sys.stderr)


async def _latest(client: ApplianceClient) -> StorageJob | None:
    """What is under way comes before what has ended, then the newer one."""
    found = [job for job in (await client.storage_job(), await client.prune_job()) if job is not None]
    return max(found, key=lambda job: (job.ended_at is None, job.started_at), default=None)


async def _follow_prune(client: ApplianceClient, request: PruneRequest, *, quiet: bool) -> StorageJob:
    """Until it ends. Whoever interrupts it has the rest stay."""
    try:
        return await _follow(client, client.begin_prune(request), client.prune_job, quiet=quiet)
    except asyncio.CancelledError:
        await client.stop_prune()
        raise


async def _follow(
    client: ApplianceClient,
    begin: Awaitable[StorageJob],
    look: Callable[[], Awaitable[StorageJob | None]] | None = None,
    *,
    quiet: bool,
) -> StorageJob:
    """Until the job ends, with its progress on standard error. Raises CommandError if it failed."""
    from appliance.model_storage import JobState

    started = await begin
    show = sys.stderr.isatty() and not quiet
    pause = FOLLOW_FIRST_S
    while True:
        found = await (look or client.storage_job)()
        if found is None or found.id != started.id:
            remedy = _("Give the same command again: it goes on.")
            raise CommandError(_("the daemon was restarted meanwhile"), remedy)
        if show:
            print(f"\r{_progress(found)} ", end="", file=sys.stderr, flush=True)
        if found.state is not JobState.RUNNING:
            break
        await asyncio.sleep(pause)
        pause = min(FOLLOW_S, 2 * pause)
    if show:
        print(file=sys.stderr)
    if found.state is JobState.FAILED:
        reason, _semicolon, remedy = found.error.partition("; ")
        raise CommandError(reason, remedy)
    return found


def _progress(job: StorageJob) -> str:
    """How far it is, as one line; with a bar where bytes are known.

    >>> from appliance.model_storage import StorageJob
    >>> _progress(StorageJob(id="", kind="move", done=1, total=4, started_at=0))
    'move: 1 of 4 objects'
    >>> _progress(StorageJob(id="", kind="prune", done=1, total=4, size_done=300, size_total=600, started_at=0))
    'prune: 1 of 4 objects [##########..........] 300 B of 600 B'
    """
    words = _("{kind}: {done} of {total} objects").format(kind=job.kind, done=job.done, total=job.total)
    if not job.size_total:
        return words
    full = BAR * job.size_done // job.size_total
    sizes = _("{done} of {total}").format(done=size(job.size_done), total=size(job.size_total))
    return f"{words} [{'#' * full}{'.' * (BAR - full)}] {sizes}"


def parse_size(text: str) -> int:
    """Bytes. Raises CommandError for a text that is no size.

    >>> parse_size("2G"), parse_size("1.5M"), parse_size("300")
    (2000000000, 1500000, 300)
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise CommandError(_("{text} is no size").format(text=text), _("Write it like 500M or 2G."), Exit.USAGE)
    return round(float(match[1]) * _UNITS[match[2]])
