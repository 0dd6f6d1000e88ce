"""`amda history`."""

from __future__ import annotations

import datetime
import os
import re
import sys
import time
from pathlib import Path
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
    printable,
    with_client,
)
from appliance.language import _, known, ngettext, number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from appliance.client import ApplianceClient
    from appliance.model_history import Disconnection, HistoryPage, HistoryStats, HourCount

_UNITS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BARS: Final = " ▁▂▃▄▅▆▇█"
_BAR_HOURS: Final = 168
"""Seven days: what is drawn; the JSON has more."""
_BAR_WIDTH: Final = 24

SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only since then: 90m, 24h, 7d, 4w, or a date like 2026-11-23.")
]
Filters = tuple[str | None, str | None, float | None]


def register(app: typer.Typer) -> None:
    app.command()(history)


def history(
    session: Annotated[str | None, typer.Option(help="Only of this session.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only for this reason, for example socket_closed.")] = None,
    since: SinceOption = None,
    stats: Annotated[bool, typer.Option("--stats", help="Figures: reasons, hours, uptime, recovery.")] = False,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write all that match as CSV; - for output.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every disconnection: when, why, how long it had been up, what was done, when it was back."""
    filters = (session, reason, None if since is None else parse_since(since, time.time()))
    if csv is not None:
        if stats or as_json:
            remedy = _("Leave out --stats and --json.")
            raise CommandError(_("--csv writes rows, and nothing else"), remedy, Exit.USAGE)
        with_client(config, lambda client: _write_csv(client, filters, csv))
    elif stats:
        figures = with_client(config, lambda client: _figures(client, filters))
        print_json(figures) if as_json else _print_stats(figures)
    elif as_json:
        print_json(with_client(config, lambda client: _all(client, filters)))
    else:
        page = with_client(config, lambda client: _page(client, filters, limit))
        _print_rows(page.items)
        if page.next is not None:
            print(_("({count} shown; there are more: --limit, --csv)").format(count=limit), file=sys.stderr)


def parse_since(text: str, now: float) -> float:
    """Seconds since the epoch. Raises CommandError for a text that is no time."""
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        return datetime.datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        words = _("{text!r} is no time").format(text=text)
        remedy = _("Write 90m, 24h, 7d, 4w, or a date like 2026-11-23.")
        raise CommandError(words, remedy, Exit.USAGE) from None


def duration(seconds: float | None) -> str:
    """For people: the two largest units; seconds with a decimal where that is all."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{number(seconds, 1)} s"
    left, parts = int(seconds), []
    for unit, size in ((_("d"), 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def share(value: float | None) -> str:
    """A percentage that is 100 only if nothing is missing."""
    if value is None:
        return "-"
    return "100 %" if value >= 1 else f"{number(min(99.99, 100 * value), 2)} %"


async def _figures(client: ApplianceClient, filters: Filters) -> HistoryStats:
    session, reason, since = filters
    return await client.history_stats(session=session, reason=reason, since=since)


async def _page(client: ApplianceClient, filters: Filters, limit: int) -> HistoryPage:
    session, reason, since = filters
    return await client.history(session=session, reason=reason, since=since, limit=limit)


async def _all(client: ApplianceClient, filters: Filters) -> list[Disconnection]:
    session, reason, since = filters
    return [item async for item in client.all_history(session=session, reason=reason, since=since)]


async def _write_csv(client: ApplianceClient, filters: Filters, target: str) -> None:
    session, reason, since = filters
    pieces = client.history_csv(session=session, reason=reason, since=since)
    if target == "-":
        await _copy(pieces, sys.stdout.fileno())
        return
    try:
        fd = os.open(Path(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        words = _("{file} is there already").format(file=target)
        raise CommandError(words, _("Name another file."), Exit.REFUSED) from None
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}", _("Choose another place.")) from error
    try:
        await _copy(pieces, fd)
    finally:
        os.close(fd)
    print(f"{target}: {_('written')}")


async def _copy(pieces: AsyncIterator[bytes], fd: int) -> None:
    with os.fdopen(fd, "wb", closefd=False) as file:
        async for piece in pieces:
            file.write(piece)


def _print_rows(items: list[Disconnection]) -> None:
    rows = [
        (clock(one.at), one.session, one.reason, "-" if one.code is None else str(one.code), duration(one.uptime_s),
         one.decision, duration(one.recovery_s), known(printable(one.text)))
        for one in items
    ]  # fmt: skip
    header = _("WHEN|SESSION|REASON|CODE|WAS UP|DECISION|BACK AFTER|WHAT IT MEANS")
    print_table(header, rows, _("No disconnections."))


def _print_stats(stats: HistoryStats) -> None:
    recovery = stats.recovery
    words = ngettext("{count} disconnection", "{count} disconnections", stats.total)
    print(_("{disconnections} since {time}; {asked} more were asked for").format(
        disconnections=words, time=clock(stats.since), asked=stats.asked
    ))  # fmt: skip
    print(_("mean time between two of a session: {time}").format(time=duration(stats.mean_between_s)))
    print(_("back by itself: {count} times, p50 {p50}, p95 {p95}, p99 {p99}; {open} not yet").format(
        count=recovery.count, p50=duration(recovery.p50_s), p95=duration(recovery.p95_s),
        p99=duration(recovery.p99_s), open=recovery.open,
    ))  # fmt: skip
    if stats.by_reason:
        print()
        largest = stats.by_reason[0].count
        rows = [
            (one.reason, "▓" * max(1, round(_BAR_WIDTH * one.count / largest)), str(one.count), known(one.text))
            for one in stats.by_reason
        ]
        print_table(_("REASON||COUNT|WHAT IT MEANS"), rows, "")
        print()
        print(_hours(stats.by_hour[-_BAR_HOURS:]))
    print()
    print_table(
        _("SESSION|UP 24 H|UP 7 D|UP 30 D|DISCONNECTIONS|MEAN BETWEEN"),
        [
            (one.session, share(one.day), share(one.week), share(one.month), str(one.disconnections),
             duration(one.mean_between_s))
            for one in stats.sessions
        ],
        _("No sessions yet: amda session add ID"),
    )  # fmt: skip


def _hours(hours: list[HourCount]) -> str:
    """One character an hour, one line a day in local time."""
    largest = max(hour.count for hour in hours)
    days: dict[str, list[str]] = {}
    for hour in hours:
        moment = datetime.datetime.fromtimestamp(hour.start, datetime.UTC).astimezone()
        line = days.setdefault(moment.strftime("%Y-%m-%d"), [" "] * 24)
        level = 0 if not hour.count else max(1, round((len(_BARS) - 1) * hour.count / largest))
        line[moment.hour] = _BARS[level] if level else "·"
    lines = [f"{day}  {''.join(line)}" for day, line in days.items()]
    title = _("by hour, at most {count} in one:").format(count=largest)
    return "\n".join([title, *lines, f"{'':<10}  0     6     12    18"])
