"""Who may read what: logins, messages and passwords are the appliance's alone."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check, Patient, Repair, Seen, in_thread, info, ok, problem, unseen
from appliance.doctor.held import held

PRIVATE: Final = stat.S_IRWXG | stat.S_IRWXO
OTHERS: Final = stat.S_IRWXO
MOST: Final = 20_000
"""Files that are looked at: sixty sessions have some thousand. What is left out is said."""
SHOWN: Final = 3
_SKIPPED: Final = frozenset({"media", "compressing"})
"""Their own folder is closed, and what lies in it is not read by anybody else then."""


@dataclasses.dataclass(frozen=True)
class _Wrong:
    """A file or folder, and what is to be taken from it."""

    path: Path
    mode: int
    bits: int

    def mend(self) -> None:
        """Raises OSError."""
        with held(self.path) as name:
            Path(name).chmod(self.mode & ~self.bits)


@dataclasses.dataclass(frozen=True)
class _Places:
    """Without symbolic links, so that a path is the one that it says."""

    state_dir: Path
    sessions: Path
    run_dir: Path

    def roots(self) -> list[Path]:
        """On a server sockets do not lie in the state folder."""
        apart = self.run_dir.is_dir() and not self.run_dir.is_relative_to(self.state_dir)
        return [self.state_dir, self.run_dir] if apart else [self.state_dir]

    def always(self, path: Path) -> bool:
        """Closed even inside a closed folder: what lies with sessions, databases, which are copied and moved about, and
        the folder of the sockets. Other things, as logs, need no more than their folder."""
        if path.is_relative_to(self.sessions) or path == self.run_dir:
            return True
        own = path.parent == self.state_dir or path.is_relative_to(self.state_dir / "backups")
        return own and path.name.endswith((".db", ".db-wal", ".db-shm"))

    def forbidden(self, path: Path) -> int:
        """What others must not be allowed. Sockets and their folder are for the appliance's group as well."""
        return OTHERS if path == self.run_dir or path.parent == self.run_dir else PRIVATE


def look(patient: Patient) -> list[Seen]:
    paths = patient.settings.paths
    try:
        owner = paths.state_dir.stat().st_uid
        with os.scandir(paths.state_dir):
            pass
    except FileNotFoundError:
        return [info(f"{paths.state_dir} does not exist yet", "", str(paths.state_dir))]
    except PermissionError:
        return [unseen(f"{paths.state_dir} belongs to the appliance alone, as it should", str(paths.state_dir))]
    places = _Places(paths.state_dir.resolve(), paths.sessions.resolve(), paths.run_dir.resolve())
    wrong: list[_Wrong] = []
    foreign: list[Path] = []
    count = 0
    open_folders = {places.state_dir.parent}
    for path, state in itertools.chain.from_iterable(map(_walk, places.roots())):
        count += 1
        if stat.S_ISLNK(state.st_mode):
            continue
        mode = stat.S_IMODE(state.st_mode)
        if stat.S_ISDIR(state.st_mode) and mode & PRIVATE and path.parent in open_folders:
            open_folders.add(path)
        if (path.parent in open_folders or places.always(path)) and (bits := mode & places.forbidden(path)):
            wrong.append(_Wrong(path, mode, bits))
        if state.st_uid != owner:
            foreign.append(path)
    secrets, hidden = _secrets(patient)
    wrong += secrets
    seen = [*_open(wrong), *_foreign(foreign, owner), *hidden]
    rest = f", the first {MOST} of them" if count >= MOST else ""
    return seen if wrong or foreign else [*seen, ok(f"{count} files and folders{rest}: none is open to others")]


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The folder and everything below it, at most MOST; what vanishes meanwhile is left out."""
    left = MOST
    waiting = [folder]
    while waiting and left > 0:
        current = waiting.pop()
        with contextlib.suppress(OSError):
            state = current.lstat()
            left -= 1
            yield current, state
            if stat.S_ISDIR(state.st_mode) and (current.name not in _SKIPPED or current.parent != folder):
                waiting += sorted(Path(entry.path) for entry in os.scandir(current))


def _secrets(patient: Patient) -> tuple[list[_Wrong], list[Seen]]:
    """Files of passwords and keys, wherever they lie: the group may read them, the rest of the machine never."""
    settings = patient.settings
    alone = (settings.storage.credentials, settings.backup.credentials, settings.backup.key_file)
    named = (*alone, settings.redis.password_file, settings.api.key)
    wrong, hidden = [], []
    for path in (path for path in named if path is not None):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except PermissionError:
            hidden.append(unseen("this user may not look at it", str(path)))
            continue
        except OSError as error:
            if path == settings.backup.key_file:  # it is made with the first backup
                continue
            hidden.append(
                problem(f"it cannot be read: {error.strerror}", "Put it there, or correct the setting.", str(path))
            )
            continue
        bits = PRIVATE if path in alone else OTHERS | stat.S_IWGRP
        if mode & bits:
            wrong.append(_Wrong(path.resolve(), mode, mode & bits))
    return wrong, hidden


def _open(wrong: list[_Wrong]) -> Iterator[Seen]:
    if not wrong:
        return
    what = f"chmod {wrong[0].mode & ~wrong[0].bits:04o} {wrong[0].path}"
    if len(wrong) > 1:
        what += f", and {len(wrong) - 1} more alike"

    def mend() -> None:
        for one in wrong:
            one.mend()

    names = _some(f"{one.path} ({one.mode:04o})" for one in wrong)
    found = f"{len(wrong)} files or folders are open to others: {names}"
    yield problem(found, what, repair=Repair(what, mend))


def _foreign(foreign: list[Path], owner: int) -> Iterator[Seen]:
    if not foreign:
        return
    what = f"chown {owner} {foreign[0]}" + (f", and {len(foreign) - 1} more" if len(foreign) > 1 else "")

    def mend() -> None:
        for path in foreign:
            with held(path) as name:
                os.chown(name, owner, -1)

    names = _some(map(str, foreign))
    found = f"{len(foreign)} files belong to another user than their folder, who may be unable to use them: {names}"
    yield problem(found, what, repair=Repair(what, mend))


def _some(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:SHOWN]) + (" …" if len(every) > SHOWN else "")


CHECK: Final = Check("modes", "who may read logins, messages and passwords", in_thread(look))
