"""`amda engine …`: the WhatsApp engine alone, which goes out of date several times a year."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption, print_json, with_client
from appliance.cli.course import (
    RELEASES_OWN,
    CanaryOption,
    Choices,
    Course,
    DryRunOption,
    RollbackOption,
    Sha256Option,
    StatusOption,
    WatchOption,
    YesOption,
    follow,
)
from appliance.language import _, ngettext

if TYPE_CHECKING:
    from appliance.upgrade.conduct import Wish
    from appliance.upgrade.plan import Journal

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Which engine sessions get that start now, and which ones run."""
    import collections

    version = with_client(config, lambda client: client.version())
    views = with_client(config, lambda client: client.sessions())
    running = dict(collections.Counter(view.engine for view in views if view.engine is not None))
    if as_json:
        print_json({"folder": version.engine, "running": running})
        return
    print(f"{_('engine'):<9}{version.engine or _(RELEASES_OWN)}")
    for name, count in sorted(running.items()):
        sessions = ngettext("{count} session", "{count} sessions", count)
        print(f"{'':<9}{_('{sessions} with version {name}').format(sessions=sessions, name=name)}")


@app.command()
def upgrade(
    to: Annotated[
        str | None, typer.Option(metavar="WHEEL", help="The engine's wheel, or its version (with --sha256).")
    ] = None,
    sha256: Sha256Option = None,
    canary: CanaryOption = 1,
    watch: WatchOption = 60.0,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    status: StatusOption = False,
    rollback: RollbackOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change to another engine: rehearsed on a staging network here first, then the sessions one by one.

    For when WhatsApp no longer accepts the present one (405, `outdated`) and there is no release with a newer one yet.
    If something fails, everything goes back. Stopped at any moment, the same command goes on from there.
    """
    from appliance.upgrade.conduct import Wish
    from appliance.upgrade.plan import Kind

    wish = Wish(to=to, sha256=sha256, canary=canary, watch_s=watch)
    choices = Choices(dry_run=dry_run, yes=yes, status=status, rollback=rollback)
    follow(Kind.ENGINE, lambda course: _begin(course, wish), choices, config, as_json=as_json)


def _begin(course: Course, wish: Wish) -> Journal:
    import asyncio

    from appliance.upgrade.conduct import begin_engine, what_runs

    _version, status = asyncio.run(what_runs(course.machine))
    journal = begin_engine(course.machine, wish, course.downloads, status)
    words = _("from {old} to {new}")
    course.say(words.format(old=journal.source.name or _(RELEASES_OWN), new=journal.target.name))
    course.say(_("It is rehearsed here first."))
    course.say_who_moves(journal)
    return journal
