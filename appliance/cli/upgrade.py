"""`amda upgrade`: another release, without a disconnection that was not planned, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import ConfigOption, JsonOption
from appliance.cli.course import (
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
from appliance.language import _

if TYPE_CHECKING:
    from appliance.upgrade.conduct import Wish
    from appliance.upgrade.plan import Journal


def register(app: typer.Typer) -> None:
    app.command()(upgrade)


def upgrade(
    to: Annotated[
        str | None,
        typer.Option(
            metavar="RELEASE",
            help="Checkout, archive, bundle, https:// address or version; otherwise the newest.",
        ),
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
    """Change to another release: daemon and fork server without a disconnection, then the sessions one by one.

    It shows the changelog and asks, takes a backup, installs beside, and watches the first sessions before the others
    follow; if something fails, everything goes back. Stopped at any moment, the same command goes on from there.
    """
    from appliance.upgrade.conduct import Wish
    from appliance.upgrade.plan import Kind

    wish = Wish(to=to, sha256=sha256, canary=canary, watch_s=watch)
    choices = Choices(dry_run=dry_run, yes=yes, status=status, rollback=rollback)
    follow(Kind.RELEASE, lambda course: _begin(course, wish), choices, config, as_json=as_json)


def _begin(course: Course, wish: Wish) -> Journal:
    import asyncio

    from appliance.upgrade.conduct import begin_release, changes, offer_of, what_runs
    from appliance.upgrade.offers import Publisher

    settings, machine = course.settings.upgrade, course.machine
    version, status = asyncio.run(what_runs(machine))
    publisher = None
    if settings.url is not None and settings.signers is not None:
        publisher = Publisher(url=settings.url, signers=settings.signers)
    offer = offer_of(machine, wish, publisher, course.downloads)
    journal = begin_release(machine, offer, wish, version, status)
    words = _("from {old} to {new}").format(old=journal.source.name, new=offer.version)
    course.say(f"{words}\n\n{changes(machine, offer)}\n")
    if offer.schema != journal.schema:
        words = _("The database changes from schema {old} to {new}; a copy of it is kept.")
        course.say(words.format(old=journal.schema, new=offer.schema))
    course.say_who_moves(journal)
    return journal
