"""`amda backup …`: works on files and the repository itself, so that it does not need a daemon."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from appliance.cli.common import (
    CommandError,
    ConfigOption,
    Exit,
    JsonOption,
    clock,
    loaded_settings,
    print_json,
    print_table,
    run_async,
    settings_of,
    size,
)

if TYPE_CHECKING:
    from appliance.backup.restore import Wish
    from appliance.backup.work import Backups, Progress
    from appliance.config import LoadedSettings
    from appliance.model import SessionView
    from appliance.model_backup import BackupCheck, BackupRun, LeaseView

app = typer.Typer(no_args_is_help=True)
T = TypeVar("T")
SHOW_S: Final = 0.2
"""How often a line of progress is drawn again."""
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
        raise CommandError(f"--reason: {reason[:40]!r} is no word", "Write it like: before-move", Exit.USAGE)
    made, checked = _carried_out(_make(config, media, reason, check=check, quiet=as_json))
    if as_json:
        print_json(made)
        return
    media_text = "" if made.media is None else f", {made.media} objects of media"
    print(f"backup {made.id}: {made.sessions} sessions{media_text}, {size(made.size)} in {made.seconds:.1f} s")
    for session, why in made.skipped.items():
        print(f"  NOT in it: session {session}: {why}")
    print(f"  the repository grew by {size(made.added)}; older backups let go: {made.removed}")
    if checked is not None:
        print(f"  taken out again and compared: {checked.files} files, all as they were saved")
    _remind(config)
    if made.skipped:
        sys.exit(Exit.FAILED)


async def _make(
    config: Path | None, media: bool | None, reason: str, *, check: bool, quiet: bool
) -> tuple[BackupRun, BackupCheck | None]:
    from appliance.backup.work import Backups, take_backup

    loaded = loaded_settings(config)
    with _progress(quiet=quiet) as progress:
        made = await take_backup(loaded, reason=reason, with_media=media, progress=progress)
        async with Backups(loaded.settings) as backups:
            due = check and backups.is_check_due()
            return made, await backups.verify(None, all_data=False, progress=progress) if due else None


@app.command("list")
def list_backups(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Every backup that can be restored, newest first."""
    found = _carried_out(_with_backups(config, lambda backups: backups.saved()))
    if as_json:
        print_json(found)
        return
    rows = [(one.id, clock(one.at), one.host, one.reason, one.release, "yes" if one.media else "no") for one in found]
    print_table(("BACKUP", "MADE", "MACHINE", "REASON", "RELEASE", "MEDIA"), rows, "There are no backups yet.")


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
        with _progress(quiet=as_json) as progress:
            return await backups.verify(backup, all_data=all_data, progress=progress)

    done = _carried_out(_with_backups(config, check))
    if as_json:
        print_json(done)
        return
    what = "every byte of the repository read" if done.all_data else "the repository's structure read"
    print(
        f"backup {done.id}: {done.files} files of {done.sessions} sessions ({size(done.size)}) are as they were saved"
    )
    print(f"  {what}; {done.seconds:.1f} s")


@app.command()
def restore(
    backup: Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="Which one; otherwise the newest.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="PLACE", help="A folder, or s3:https://HOST/BUCKET; otherwise as the settings say."
        ),
    ] = None,
    s3_credentials: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Login for an S3 of --from; otherwise backup.credentials.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The key that was kept; - reads it from standard input.")
    ] = None,
    old_machine_is_off: Annotated[
        bool,
        typer.Option(
            "--old-machine-is-off", help="The machine that made it is gone for sure: do not wait for its lease."
        ),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Set aside the sessions that this machine has, and take the backup's.")
    ] = False,
    media: Annotated[bool, typer.Option("--media/--no-media", help="Put saved media back, too.")] = True,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this session's login, while the appliance runs.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a backup's sessions, media and settings over; they come online without being linked again.

    On a server it stops and starts the services itself. It refuses while another machine still runs these sessions.
    """
    from appliance.backup.restore import Wish, restore
    from appliance.model_backup import RestoreReport

    loaded = loaded_settings(config)
    wish = Wish(
        backup=backup,
        key=None if key_file is None else _read_key(key_file),
        old_machine_is_off=old_machine_is_off,
        replace=replace,
        with_media=media,
    )

    if session is not None:
        view = _carried_out(_restore_session(loaded, session, wish, source, s3_credentials, quiet=as_json))
        if as_json:
            print_json(view)
        else:
            print(f"session {session} has the login of the backup (generation {view.generation}): {view.state.value}")
        return

    async def work() -> RestoreReport:
        from appliance.backup.repository import repository_at

        repository = None if source is None else repository_at(source, loaded.settings.backup, s3_credentials)
        with _progress(quiet=as_json) as progress:
            return await restore(loaded, wish, repository, progress)

    report = _carried_out(work())
    if as_json:
        print_json(report)
        return
    print(f"backup {report.id} of {clock(report.made_at)} is in place: {len(report.sessions)} sessions")
    if report.media is not None:
        print(f"  {report.media} objects of media are back; {report.media_missing} were not in it")
    for note in report.notes:
        print(f"  {note}")
    print("Watch them come online: amda session list")


async def _restore_session(
    loaded: LoadedSettings, session: str, wish: Wish, source: str | None, s3_credentials: Path | None, *, quiet: bool
) -> SessionView:
    from appliance.backup.one_session import restore_session
    from appliance.backup.repository import repository_at
    from appliance.backup.settings_files import become_owner
    from appliance.client import ApplianceClient

    settings = loaded.settings
    become_owner(settings)
    repository = None if source is None else repository_at(source, settings.backup, s3_credentials)
    async with ApplianceClient(settings.paths.api_socket) as api:
        await api.session(session)  # there is one, and a daemon that knows it
        with _progress(quiet=quiet) as progress:
            return await restore_session(settings, session, wish, repository, api.restore_session, progress)


def _read_key(file: Path) -> str:
    import getpass

    try:
        if str(file) == "-":
            text = getpass.getpass("key of the backups: ") if sys.stdin.isatty() else sys.stdin.read()
        else:
            text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: the key cannot be read: {error}", "Name the file that it is kept in.") from error
    if not (key := text.strip()):
        raise CommandError("the key is empty", "Give the line that amda backup key has shown.", Exit.USAGE)
    return key


@app.command()
def lease(
    take: Annotated[
        bool, typer.Option("--take", help="Say that these sessions are this machine's again; the other one stops.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which machine runs the sessions of these backups."""
    found = _carried_out(_with_backups(config, lambda backups: _lease(backups, take=take)))
    if as_json:
        print_json(found)
    elif found is None:
        print("No machine has said so yet.")
    else:
        whose = "this machine" if found.ours else "ANOTHER machine"
        print(f"{found.host} ({whose}), since restore {found.term}; it said so {clock(found.renewed_at)}")


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
    print(f"repository  {repository.name}, {'with' if settings.backup.media else 'without'} media")
    if record.last_run is None:
        print("last        none yet: amda backup run")
    else:
        last = record.last_run
        print(f"last        {clock(last.at)} ({last.id}): {last.sessions} sessions, {size(last.size)}")
    check = record.last_check
    print(f"checked     {'never: amda backup verify' if check is None else f'{clock(check.at)} ({check.id})'}")
    if record.error:
        print(f"failed      {clock(record.error_at)}: {record.error}")
    if record.restored_at is not None:
        print(f"restored    {clock(record.restored_at)}: this machine's state came out of a backup")
    if record.key_confirmed_at is not None:
        print(f"key         kept elsewhere, confirmed {clock(record.key_confirmed_at)}")
    else:
        print("key         nobody has confirmed that it is kept elsewhere: amda backup key")


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
    with _errors():
        if confirm:
            confirm_key(file, folder)
            shown = ""
        else:
            make_key(file, folder)
            shown = show_key(file, folder, again=again)
    if as_json:
        print_json({"confirmed": True} if confirm else {"key": shown})
    elif confirm:
        print("Noted. Without that copy nobody can read a backup once this machine is gone.")
    else:
        print(shown)
        print(
            "Keep this key somewhere else than on this machine: without it no backup can be read.\n"
            "When you have: amda backup key --confirm",
            file=sys.stderr,
        )


async def _with_backups(config: Path | None, work: Callable[[Backups], Awaitable[T]]) -> T:
    from appliance.backup.settings_files import become_owner
    from appliance.backup.work import Backups

    settings = settings_of(config)
    become_owner(settings)
    async with Backups(settings) as backups:
        return await work(backups)


def _carried_out(work: Coroutine[Any, Any, T]) -> T:
    with _errors():
        return run_async(work)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """What goes wrong with backups, with its exit status."""
    from appliance.backup.errors import BackupError, BackupTrouble

    status = {
        BackupTrouble.FAILED: Exit.FAILED,
        BackupTrouble.USAGE: Exit.USAGE,
        BackupTrouble.NOT_FOUND: Exit.NOT_FOUND,
        BackupTrouble.REFUSED: Exit.REFUSED,
        BackupTrouble.AWAY: Exit.DEGRADED,
    }
    try:
        yield
    except BackupError as error:
        raise CommandError(str(error), error.remedy, status[error.kind]) from error


@contextlib.contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """One line on standard error that changes, if a person watches; a line for each step in a log."""
    terminal = sys.stderr.isatty()
    drawn, last = 0.0, ""

    def show(step: str, done: int, total: int) -> None:
        nonlocal drawn, last
        if quiet:
            return
        now = time.monotonic()
        if terminal and (step != last or now - drawn >= SHOW_S):
            amount = f" {size(done)} of {size(total)}" if total else f" {size(done)}" if done else ""
            print(f"\r\x1b[K{step}{amount}", end="", file=sys.stderr, flush=True)
            drawn = now
        elif not terminal and step.partition(":")[0] != last.partition(":")[0]:
            print(f"  {step.partition(':')[0]}", file=sys.stderr, flush=True)
        last = step

    try:
        yield show
    finally:
        if terminal and last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _remind(config: Path | None) -> None:
    from appliance.backup.record import read_record

    if read_record(settings_of(config).paths.backups).key_confirmed_at is None:
        print("Nobody has confirmed that the key is kept elsewhere: amda backup key", file=sys.stderr)
