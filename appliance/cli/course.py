"""What `amda upgrade` and `amda engine upgrade` share: options, questions, what is shown on the way, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from appliance.cli.common import CommandError, Exit, clock, loaded_settings, print_json
from appliance.language import N_, _, known

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.upgrade.journal import JournalFile
    from appliance.upgrade.machine import Machine
    from appliance.upgrade.plan import Journal, Kind

CanaryOption = Annotated[
    int, typer.Option(min=0, max=100, metavar="N", help="Sessions that move first and are watched; 0: none.")
]
WatchOption = Annotated[
    float, typer.Option("--watch", min=0, max=86_400, metavar="SECONDS", help="How long the canaries are watched.")
]
Sha256Option = Annotated[str | None, typer.Option("--sha256", metavar="HEX", help="What a download must be.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]
StatusOption = Annotated[bool, typer.Option("--status", help="How far the upgrade is, or how the last one ended.")]
RollbackOption = Annotated[bool, typer.Option("--rollback", help="Take the last upgrade back, finished or not.")]

STEPS: Final = {
    "stage": N_("putting it beside what runs"),
    "rehearse": N_("rehearsing it on the staging network"),
    "back_up": N_("backing up database and settings"),
    "daemon": N_("changing the daemon; no session is disconnected"),
    "engine": N_("choosing the engine for sessions that start"),
    "fork_server": N_("changing the fork server in place; no session is disconnected"),
    "canary": N_("moving the first sessions, and watching them"),
    "sessions": N_("moving the other sessions, one by one"),
    "tidy": N_("removing what is older than the last three"),
    "back_engine": N_("going back: choosing the engine from before"),
    "back_fork_server": N_("going back: the fork server"),
    "back_sessions": N_("going back: the sessions that had moved"),
    "back_daemon": N_("going back: the daemon, and its database if it was changed"),
    "back_rest": N_("going back: whoever is left"),
}
AGAIN: Final = {"release": "amda upgrade", "engine": "amda engine upgrade"}
"""The command of each kind."""
RELEASES_OWN: Final = N_("the engine of the release")
_REFUSALS: Final = frozenset({40, 41, 42, 43, 45, 55, 57})
"""Faults that are no failure: it is not possible, or not wanted."""


class Choices(NamedTuple):
    """What kind of run it is."""

    dry_run: bool
    yes: bool
    status: bool
    rollback: bool


class Course:
    """One invocation: says what happens on standard error, and keeps what concerns one kind of upgrade together."""

    def __init__(self, config: Path | None, kind: Kind, *, as_json: bool) -> None:
        from appliance.upgrade.conduct import require_server
        from appliance.upgrade.journal import DOWNLOADS, JournalFile
        from appliance.upgrade.machine import OPT, Machine

        loaded = loaded_settings(config)
        self.settings = loaded.settings
        self.kind = kind
        self.as_json = as_json
        self.machine: Machine = Machine(loaded.settings, self.say, config=loaded.file, opt=OPT)
        self.file: JournalFile = JournalFile(self.machine.opt / "upgrade", kind)
        self.downloads = self.file.folder / DOWNLOADS
        self._shown: tuple[object, ...] = ()
        require_server(self.machine)

    def say(self, text: str) -> None:
        """A terminal that has gone away must not end an upgrade."""
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr, flush=True)

    def show(self, journal: Journal) -> None:
        """A step, or the progress in it, once."""
        from appliance.upgrade.plan import place_in

        state = (journal.step, journal.moved if journal.of else 0, journal.of)
        if state == self._shown:
            return
        if self._shown[:1] != state[:1]:
            self.say(f"[{place_in(journal)}] {_(STEPS[journal.step])}")
        elif journal.of:
            self.say("  " + _("{moved} of {all} sessions").format(moved=journal.moved, all=journal.of))
        self._shown = state

    def say_who_moves(self, journal: Journal) -> None:
        """Before anybody is asked."""
        words = _("{count} sessions are online; each connects anew once, {first} of them first.")
        self.say(words.format(count=journal.sessions, first=journal.canary))

    def confirm(self, *, yes: bool) -> None:
        """Raises UpgradeError unless somebody agrees."""
        from appliance.upgrade.faults import Fault, UpgradeError

        if yes:
            return
        refused = UpgradeError(Fault.NOT_CONFIRMED, "nothing was changed", "answer y, or add --yes")
        if not sys.stdin.isatty():
            raise refused
        self.say(_("Go on?") + " [y/N] ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise refused

    def drive(self, journal: Journal) -> None:
        """To its end, and tell how it was. Raises CommandError if it failed."""
        from appliance.upgrade.conduct import conduct

        if sys.executable != journal.driver and Path(journal.driver).is_file():
            # Whoever began it ends it: what a step has done before, its own code knows best.
            arguments = [argument for argument in sys.argv[1:] if argument != "--yes"]
            os.execv(journal.driver, [journal.driver, "-P", "-m", "appliance", *arguments, "--yes"])  # noqa: S606
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that breaks shall not stop it half-way
        ended = asyncio.run(conduct(self.machine, self.file, journal, self.show))
        report(ended, as_json=self.as_json, asked_back=journal.back and not journal.error)


def follow(
    kind: Kind, begin: Callable[[Course], Journal], choices: Choices, config: Path | None, *, as_json: bool
) -> None:
    """A whole invocation. `begin` says what a new upgrade would do, and returns its journal. Faults become numbered
    errors, and Ctrl-C says how to go on."""
    from appliance.upgrade.faults import UpgradeError

    try:
        _follow(Course(config, kind, as_json=as_json), begin, choices)
    except UpgradeError as error:
        status = Exit.REFUSED if int(error.fault) in _REFUSALS else Exit.FAILED
        raise CommandError(f"E{int(error.fault)}: {known(str(error))}", error.remedy, status) from error
    except KeyboardInterrupt:
        again = AGAIN[kind]
        words = _("interrupted: {again} goes on from there, {again} --rollback goes back")
        print("\n" + words.format(again=again), file=sys.stderr)
        raise SystemExit(Exit.INTERRUPTED) from None


def _follow(course: Course, begin: Callable[[Course], Journal], choices: Choices) -> None:
    from appliance.upgrade.conduct import to_go_back, unfinished

    if choices.status:
        show_status(course.file.read(), as_json=course.as_json)
        return
    with course.file.only_one():
        journal = unfinished(course.file.folder, course.kind)
        if choices.rollback:
            journal = to_go_back(course.file)
            words = _("going back from {new} to {old}")
            course.say(words.format(new=journal.target.name, old=journal.source.name or _(RELEASES_OWN)))
            course.confirm(yes=choices.yes)
        elif journal is not None:
            words = _("going on with the upgrade to {new}")
            course.say(words.format(new=journal.target.name or journal.target.version))
        else:
            journal = begin(course)
            if choices.dry_run:
                if course.as_json:
                    print_json(journal)
                return
            course.confirm(yes=choices.yes)
        course.drive(journal)


def report(journal: Journal, *, as_json: bool, asked_back: bool) -> None:
    """How it ended; raises CommandError if that is not what was wanted."""
    from appliance.upgrade.plan import Outcome

    if as_json:
        print_json(journal)
    fault = f"E{journal.fault}: {known(journal.error)}"
    if journal.outcome is None:
        words = _("{fault}; it is stuck on its way back").format(fault=fault)
        raise CommandError(words, journal.remedy or _("give the same command again"))
    if journal.outcome is Outcome.UNDONE and not asked_back:
        old = journal.source.name or _(RELEASES_OWN)
        raise CommandError(_("{fault}; everything is {old} again").format(fault=fault, old=old), journal.remedy)
    if not as_json:
        done = journal.outcome is Outcome.DONE
        now = journal.target if done else journal.source
        print(f"{_('done') if done else _('taken back')}: {now.name or _(RELEASES_OWN)}")
        if done and journal.error:
            print("  " + _("but {fault}").format(fault=fault), file=sys.stderr)


def show_status(journal: Journal | None, *, as_json: bool) -> None:
    """The upgrade that is under way, or the last one."""
    from appliance.upgrade.plan import place_in

    if as_json:
        print_json(journal)
        return
    if journal is None:
        print(_("There has been no upgrade."))
        return
    under_way = _("under way, step {place}: {step}")
    state = journal.outcome or under_way.format(place=place_in(journal), step=_(STEPS[journal.step]))
    moved = _("{moved} of {all} moved in this step").format(moved=journal.moved, all=journal.of) if journal.of else ""
    written = _("{time}, last step written {last}")
    lines = (
        (_("from"), journal.source.name or _(RELEASES_OWN)),
        (_("to"), journal.target.name or journal.target.version),
        (_("state"), state),
        (_("sessions"), moved),
        (_("began"), written.format(time=clock(journal.started_at), last=clock(journal.updated_at))),
        (_("backup"), journal.backup),
        (_("error"), known(journal.error)),
        (_("remedy"), known(journal.remedy)),
    )
    for name, value in lines:
        if value:
            print(f"{name:<11}{value}")
