"""Settings and secrets as files: which ones belong to the appliance, read whole, and put back on another machine."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.backup.errors import BackupError, BackupTrouble
from appliance.backup.manifest import SettingsFile
from appliance.config import ConfigError, LoadedSettings, Settings, parse_settings
from appliance.places import SYSTEM_CONFIG

FILE_BYTES: Final = 1 << 20
"""Settings, logins and certificates are a few kilobytes; what is larger is something else."""
BEFORE: Final = ".before-restore"
RESTORED: Final = ".restored"


def read_files(loaded: LoadedSettings) -> list[tuple[SettingsFile, bytes]]:
    """On a server everything in /etc/amda, elsewhere the settings file and the files that it names. The backups' own
    key is left out: it is of no use inside, and must be kept elsewhere anyway. Raises BackupError."""
    found = []
    for path in sorted(_paths(loaded)):
        if path != loaded.settings.backup.key_file:
            try:
                found.append(_read(path))
            except OSError as error:
                raise BackupError(
                    f"{path} cannot be read: {error.strerror}", "Run it as root, or as the appliance's user."
                ) from error
    return found


def _paths(loaded: LoadedSettings) -> Iterator[Path]:
    if loaded.file.parent == SYSTEM_CONFIG.parent:
        for path in loaded.file.parent.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path
        return
    settings = loaded.settings
    named = {
        loaded.file,
        settings.storage.credentials,
        settings.storage.ca_file,
        settings.backup.credentials,
        settings.backup.ca_file,
        settings.redis.password_file,
        settings.api.certificate,
        settings.api.key,
    }
    yield from (path for path in named if path is not None and path.is_file())


def _read(path: Path) -> tuple[SettingsFile, bytes]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        content = file.read(FILE_BYTES + 1)
    if len(content) > FILE_BYTES:
        raise BackupError(f"{path} is too large for a file of settings", "Move it out of that folder.")
    described = SettingsFile(
        path=str(path), mode=stat.S_IMODE(status.st_mode), user=_user(status.st_uid), group=_group(status.st_gid)
    )
    return described, content


def put_back(saved: Path, files: list[SettingsFile], settings_file: str, loaded: LoadedSettings) -> list[str]:
    """Put what was saved (below `saved`) where it belongs on this machine; returns what was done, for people.

    What this machine has of its own stays: its services were set up with it. The settings themselves come from the
    backup, unless they speak of other folders; then they are put beside. With them come the logins of an S3 that only
    they speak of. Raises OSError.
    """
    notes: list[str] = []
    logins = _logins_elsewhere(saved / settings_file.lstrip("/"), loaded)
    for file in files:
        content = (saved / file.path.lstrip("/")).read_bytes()
        if file.path == settings_file:
            notes += _put_settings(content, file, loaded)
        elif not Path(file.path).exists() or file.path in logins:
            with _said(notes, f"{file.path} could not be put back"):
                _keep(Path(file.path))
                _put(Path(file.path), content, file)
                notes.append(f"{file.path} is back")
        elif Path(file.path).read_bytes() != content:
            notes.append(f"{file.path}: this machine's own was kept")
    return notes


def _put_settings(content: bytes, file: SettingsFile, loaded: LoadedSettings) -> list[str]:
    target = loaded.file
    if target.exists() and target.read_bytes() == content:
        return []
    if target.exists() and _of_our_folders(content, loaded) is None:
        _put(target.with_name(target.name + RESTORED), content, file)
        return [
            f"the saved settings speak of other folders and lie in {target}{RESTORED}; take from them what you want"
        ]
    notes = [f"{target}: the saved settings are in force again"]
    if _keep(target):
        notes[0] += f"; those from before are in {target}{BEFORE}"
    _put(target, content, file)
    return notes


def _keep(path: Path) -> bool:
    """Put aside what is there; whether something was."""
    try:
        path.replace(path.with_name(path.name + BEFORE))
    except FileNotFoundError:
        return False
    return True


def _logins_elsewhere(file: Path, loaded: LoadedSettings) -> set[str]:
    """Files with the login of an S3 that the saved settings name and this machine's do not."""
    ours, saved = loaded.settings, _of_our_folders(file.read_bytes(), loaded) if file.exists() else None
    if saved is None:
        return set()
    pairs = ((ours.storage, saved.storage), (ours.backup, saved.backup))
    return {str(new.credentials) for old, new in pairs if new.credentials and new.endpoint not in (None, old.endpoint)}


def _of_our_folders(content: bytes, loaded: LoadedSettings) -> Settings | None:
    """Saved settings that speak of the same folders as this machine's; None: of others, or they cannot be read."""
    try:
        saved = parse_settings(content.decode(), loaded.file, {}).settings
    except (ConfigError, UnicodeDecodeError):
        return None
    return saved if saved.paths == loaded.settings.paths else None


def _put(path: Path, content: bytes, file: SettingsFile) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(content)
        if os.geteuid() == 0:
            with contextlib.suppress(KeyError):  # a user that this machine does not have: root's then
                os.fchown(out.fileno(), pwd.getpwnam(file.user).pw_uid, grp.getgrnam(file.group).gr_gid)
                os.fchmod(out.fileno(), file.mode & 0o640)


@contextlib.contextmanager
def _said(notes: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        notes.append(f"{what}: {error.strerror}")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def become_owner(settings: Settings) -> None:
    """Root goes on as the user whom the state belongs to: what it writes must be theirs. Others stay who they are.

    Raises BackupError if there is no state yet.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = settings.paths.state_dir.stat()
    except OSError as error:
        raise BackupError(
            f"{settings.paths.state_dir}: {error.strerror}", "Is the appliance installed here?", BackupTrouble.NOT_FOUND
        ) from error
    if owner.st_uid == 0:
        return
    groups = {owner.st_gid, *_socket_group(settings)}
    os.setgroups(sorted(groups))
    os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
    os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
    os.environ["HOME"] = str(settings.paths.state_dir)


def _socket_group(settings: Settings) -> list[int]:
    """That of the Redis socket, which systemd lets the appliance's services into."""
    scheme, _, path = settings.redis_url.partition("://")
    with contextlib.suppress(OSError):
        return [Path(path).stat().st_gid] if scheme == "unix" else []
    return []
