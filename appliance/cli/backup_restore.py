"""`amda backup restore`."""

from __future__ import annotations

import http
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.backup_show import carried_out, shown_progress
from appliance.cli.common import CommandError, ConfigOption, Exit, JsonOption, clock, loaded_settings, print_json
from appliance.language import _, known, ngettext

if TYPE_CHECKING:
    from appliance.backup.repository import Repository
    from appliance.backup.restore import Wish
    from appliance.config import LoadedSettings
    from appliance.model import SessionView
    from appliance.model_backup import RestoreReport

BackupArgument = Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="Which one; otherwise the newest.")]
SourceOption = Annotated[
    str | None,
    typer.Option("--from", metavar="PLACE", help="A folder, or s3:https://HOST/BUCKET; otherwise as the settings say."),
]
CredentialsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Login for an S3 of --from; otherwise backup.credentials.")
]
KeyOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The key that was kept; - reads it from standard input.")
]
OffOption = Annotated[
    bool,
    typer.Option("--old-machine-is-off", help="The machine that made it is gone for sure: do not wait for its lease."),
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Set aside the sessions that this machine has, and take the backup's.")
]
MediaOption = Annotated[bool, typer.Option("--media/--no-media", help="Put saved media back, too.")]
SessionOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Only this session's login, while the appliance runs.")
]


def restore(
    backup: BackupArgument = None,
    source: SourceOption = None,
    s3_credentials: CredentialsOption = None,
    key_file: KeyOption = None,
    old_machine_is_off: OffOption = False,
    replace: ReplaceOption = False,
    media: MediaOption = True,
    session: SessionOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a backup's sessions, media and settings over; they come online without being linked again.

    On a server it stops and starts the services itself. It refuses while another machine still runs these sessions.
    """
    from appliance.backup.restore import Wish

    loaded = loaded_settings(config)
    wish = Wish(
        backup=backup,
        key=None if key_file is None else _read_key(key_file),
        old_machine_is_off=old_machine_is_off,
        replace=replace,
        with_media=media,
    )
    if session is not None:
        view = carried_out(_one(loaded, session, wish, source, s3_credentials, quiet=as_json))
        if as_json:
            print_json(view)
        else:
            text = _("session {session} has the login of the backup (generation {generation}): {state}")
            print(text.format(session=session, generation=view.generation, state=known(view.state.value)))
        return
    report = carried_out(_everything(loaded, wish, source, s3_credentials, quiet=as_json))
    if as_json:
        print_json(report)
    else:
        _show(report)


def _show(report: RestoreReport) -> None:
    held = ngettext("{count} session", "{count} sessions", len(report.sessions))
    print(_("backup {id} of {when} is in place: {held}").format(id=report.id, when=clock(report.made_at), held=held))
    if report.media is not None:
        text = _("{count} objects of media are back; {missing} were not in it")
        print("  " + text.format(count=report.media, missing=report.media_missing))
    for note in report.notes:
        print(f"  {known(note)}")
    print(_("Watch them come online: amda session list"))


async def _everything(
    loaded: LoadedSettings, wish: Wish, source: str | None, s3_credentials: Path | None, *, quiet: bool
) -> RestoreReport:
    from appliance.backup.restore import restore as restored

    with shown_progress(quiet=quiet) as progress:
        return await restored(loaded, wish, _repository(loaded, source, s3_credentials), progress)


async def _one(
    loaded: LoadedSettings, session: str, wish: Wish, source: str | None, s3_credentials: Path | None, *, quiet: bool
) -> SessionView:
    from appliance.backup.one_session import restore_session
    from appliance.backup.settings_files import become_owner
    from appliance.client import ApiError, ApplianceClient

    def was_refused(error: Exception) -> bool:
        return isinstance(error, ApiError) and error.problem.status < http.HTTPStatus.INTERNAL_SERVER_ERROR

    settings = loaded.settings
    become_owner(settings)
    repository = _repository(loaded, source, s3_credentials)
    async with ApplianceClient(settings.paths.api_socket) as api:
        await api.session(session)  # there is one, and a daemon that knows it
        with shown_progress(quiet=quiet) as progress:
            hand_over = api.restore_session
            return await restore_session(settings, session, wish, repository, hand_over, was_refused, progress)


def _repository(loaded: LoadedSettings, source: str | None, s3_credentials: Path | None) -> Repository | None:
    """The one that was named; None: that of the settings."""
    from appliance.backup.repository import repository_at

    return None if source is None else repository_at(source, loaded.settings.backup, s3_credentials)


def _read_key(file: Path) -> str:
    import getpass

    try:
        if str(file) == "-":
            text = getpass.getpass(_("key of the backups: ")) if sys.stdin.isatty() else sys.stdin.read()
        else:
            text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = _("{file}: the key cannot be read: {error}").format(file=file, error=error)
        raise CommandError(told, _("Name the file that it is kept in.")) from error
    if not (key := text.strip()):
        raise CommandError(_("the key is empty"), _("Give the line that amda backup key has shown."), Exit.USAGE)
    return key
