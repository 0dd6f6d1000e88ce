"""`amda storage …`."""

from __future__ import annotations

import re
import sys
import time
from typing import Annotated, Final

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

app = typer.Typer(no_args_is_help=True)

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
"""As `size` prints them."""


@app.command()
def usage(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """How much is stored, for whom, since when; and how long the quota will last."""
    found = with_client(config, lambda client: client.storage())
    if as_json:
        print_json(found)
        return
    print(f"used      {size(found.used)} of {size(found.quota)} ({found.share:.0%}), pruning: {found.prune_mode}")
    print(f"pinned    {size(found.pinned)}")
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


def parse_size(text: str) -> int:
    """Bytes. Raises CommandError for a text that is no size.

    >>> parse_size("2G"), parse_size("1.5M"), parse_size("300")
    (2000000000, 1500000, 300)
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?)([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise CommandError(f"{text} is no size", "Write it like 500M or 2G.", Exit.USAGE)
    return round(float(match[1]) * _UNITS[match[2]])
