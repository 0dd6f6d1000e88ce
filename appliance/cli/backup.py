"""`amda backup …`: works on files and the repository itself, so that it does not need a daemon."""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from appliance.cli.backup_restore import restore
from appliance.cli.backup_show import carried_out, errors_told, shown_progress
from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    clock,
    loaded_settings,
    print_json,
    print_table,
    settings_of,
    size,
)
from appliance.language import _, known, ngettext, number

if TYPE_CHECKING:
    from appliance.backup.work import Backups
    from appliance.model_backup import BackupCheck, BackupRecord, BackupRun, LeaseView

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")
REASON: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


@app.command()
def run(
    media: Annotated[
        bool | None, typer.Option("--media/--no-media", help="With stored media or without; otherwise as backup.media.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, in a word; it is shown in the list.")] = "operator",
    check: Annotated[
        bool, typer.Option("--check", help="Then take it out and compare it, if that is due (backup.verify_days).")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a backup now, encrypted; sessions and messages go on meanwhile."""
    if not REASON.fullmatch(reason):
        text = _("--reason: {reason!r} is no word").format(reason=reason[:40])
        raise CommandError(text, _("Write it like: before-move"), Exit.USAGE)
    made, checked = carried_out(_make(config, media, reason, check=check, quiet=as_json))
    if as_json:
        print_json(made)
        return
    _show_run(made, checked)
    _remind(config)
    if made.skipped:
        sys.exit(Exit.FAILED)


def _show_run(made: BackupRun, checked: BackupCheck | None) -> None:
    held = ngettext("{count} session", "{count} sessions", made.sessions)
    if made.media is not None:
        held += ", " + ngettext("{count} object of media", "{count} objects of media", made.media)
    text = _("backup {id}: {held}, {size} in {seconds} s")
    print(text.format(id=made.id, held=held, size=size(made.size), seconds=number(made.seconds, 1)))
    for session, why in made.skipped.items():
        print("  " + _("NOT in it: session {session}: {why}").format(session=session, why=known(why)))
    text = _("the repository grew by {size}; older backups let go: {removed}")
    print("  " + text.format(size=size(made.added), removed=made.removed))
    if checked is not None:
        text = _("taken out again and compared: {files} files, all as they were saved")
        print("  " + text.format(files=checked.files))


async def _make(
    config: Path | None, media: bool | None, reason: str, *, check: bool, quiet: bool
) -> tuple[BackupRun, BackupCheck | None]:
    from appliance.backup.work import Backups, take_backup

    loaded = loaded_settings(config)
    with shown_progress(quiet=quiet) as progress:
        made = await take_backup(loaded, reason=reason, with_media=media, progress=progress)
        async with Backups(loaded.settings) as backups:
            due = check and backups.is_check_due()
            return made, await backups.verify(None, all_data=False, progress=progress) if due else None


@app.command("list")
def list_backups(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every backup that can be restored, newest first."""
    found = carried_out(_with_backups(config, lambda backups: backups.saved()))
    if as_json:
        print_json(found)
        return
    rows = [
        (one.id, clock(one.at), one.host, one.reason, one.release, _("yes") if one.media else _("no")) for one in found
    ]
    print_table(_("BACKUP|MADE|MACHINE|REASON|RELEASE|MEDIA"), rows, _("There are no backups yet."))


@app.command()
def verify(
    backup: Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="Which one; otherwise the newest.")] = None,
    all_data: Annotated[
        bool, typer.Option("--all-data", help="Read every byte of the repository, too. Takes as long as that takes.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the repository, take a backup out of it and compare every file; nothing is changed."""

    async def check(backups: Backups) -> BackupCheck:
        with shown_progress(quiet=as_json) as progress:
            return await backups.verify(backup, all_data=all_data, progress=progress)

    done = carried_out(_with_backups(config, check))
    if as_json:
        print_json(done)
        return
    text = _("backup {id}: {files} files of {sessions} sessions ({size}) are as they were saved")
    print(text.format(id=done.id, files=done.files, sessions=done.sessions, size=size(done.size)))
    what = _("every byte of the repository read") if done.all_data else _("the repository's structure read")
    print(f"  {what}; {number(done.seconds, 1)} s")


app.command()(restore)


@app.command()
def lease(
    take: Annotated[
        bool, typer.Option("--take", help="Say that these sessions are this machine's again; the other one stops.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which machine runs the sessions of these backups."""
    found = carried_out(_with_backups(config, lambda backups: _lease(backups, take=take)))
    if as_json:
        print_json(found)
    elif found is None:
        print(_("No machine has said so yet."))
    else:
        whose = _("this machine") if found.ours else _("ANOTHER machine")
        text = _("{host} ({whose}), term {term}; it said so {when}")
        print(text.format(host=found.host, whose=whose, term=found.term, when=clock(found.renewed_at)))


async def _lease(backups: Backups, *, take: bool) -> LeaseView | None:
    from appliance.backup.lease import claim_of, read_lease, take_lease, view_of

    claim = claim_of(backups.settings.paths.database)
    found = await (take_lease(backups.repository, claim) if take else read_lease(backups.repository))
    return None if found is None else view_of(found, claim.node_id)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """When the last backup was made and checked, where they go, and whether the key is kept elsewhere."""
    from appliance.backup.record import read_record
    from appliance.backup.repository import open_repository

    settings = settings_of(config)
    record, repository = read_record(settings.paths.backups), open_repository(settings.backup)
    if as_json:
        print_json({"repository": repository.name, "media": settings.backup.media, "record": record})
        return
    media = _("with media") if settings.backup.media else _("without media")
    lines = [(_("repository"), f"{known(repository.name)}, {media}"), *_record_lines(record)]
    width = max(len(label) for label, _text in lines)
    for label, text in lines:
        print(f"{label:<{width}}  {text}")


def _record_lines(record: BackupRecord) -> Iterator[tuple[str, str]]:
    last, check = record.last_run, record.last_check
    if last is None:
        yield _("last backup"), _("none yet: amda backup run")
    else:
        held = ngettext("{count} session", "{count} sessions", last.sessions)
        yield _("last backup"), f"{clock(last.at)} ({last.id}): {held}, {size(last.size)}"
    yield _("checked"), _("never: amda backup verify") if check is None else f"{clock(check.at)} ({check.id})"
    if record.error:
        yield _("failed"), f"{clock(record.error_at)}: {known(record.error)}"
    if record.restored_at is not None:
        text = _("{when}: this machine's state came out of a backup")
        yield _("restored"), text.format(when=clock(record.restored_at))
    if record.key_confirmed_at is None:
        yield _("key"), _("nobody has confirmed that it is kept elsewhere: amda backup key")
    else:
        yield _("key"), _("kept elsewhere, confirmed {when}").format(when=clock(record.key_confirmed_at))


@app.command()
def key(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Say that the key is kept off this machine; the doctor asks no more.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Show it although that was confirmed.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the key that backups are encrypted with, to be kept elsewhere. Made at the first use."""
    from appliance.backup.key import confirm_key, make_key, show_key

    settings = settings_of(config)
    file, folder = settings.backup.key_file, settings.paths.backups
    with errors_told():
        if confirm:
            confirm_key(file, folder)
            shown = ""
        else:
            make_key(file, folder)
            shown = show_key(file, folder, again=again)
    if as_json:
        print_json({"confirmed": True} if confirm else {"key": shown})
    elif confirm:
        print(_("Noted. Without that copy nobody can read a backup once this machine is gone."))
    else:
        print(shown)
        keep = _("Keep this key somewhere else than on this machine: without it no backup can be read.")
        print(f"{keep}\n{_('When you have: amda backup key --confirm')}", file=sys.stderr)


async def _with_backups(config: Path | None, work: Callable[[Backups], Awaitable[T]]) -> T:
    from appliance.backup.settings_files import become_owner
    from appliance.backup.work import Backups

    settings = settings_of(config)
    become_owner(settings)
    async with Backups(settings) as backups:
        return await work(backups)


def _remind(config: Path | None) -> None:
    from appliance.backup.record import read_record

    if read_record(settings_of(config).paths.backups).key_confirmed_at is None:
        print(_("Nobody has confirmed that the key is kept elsewhere: amda backup key"), file=sys.stderr)
