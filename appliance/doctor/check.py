"""What a check is, what it is given to look at, and how it says what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from appliance.config import LoadedSettings, Settings
from appliance.model_doctor import Severity

BOUND_S: Final = 15.0
"""A check looks at what is near; what needs longer hangs, and the others must not wait for it."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Repair:
    """Something that is safe to put right without a human: it takes nothing away that anybody could still need."""

    what: str
    """What will be done, as in `chmod 600 FILE`."""
    do: Callable[[], None]
    """Raises OSError; called in a thread."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a check saw of one thing; the fields of `model_doctor.Finding`, as far as they are the check's to say."""

    severity: Severity
    found: str
    remedy: str = ""
    looked_at: str = ""
    """Empty: what the check looks at as a whole."""
    partial: bool = False
    repair: Repair | None = None


@dataclasses.dataclass(frozen=True)
class Patient:
    """What is looked at. `root` is another one in tests: files of the system are read below it."""

    loaded: LoadedSettings
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    root: Path = Path("/")
    broken: str = ""
    """Why the settings cannot be used; `loaded` has only where things lie then. Empty: they can."""
    in_daemon: bool = False
    """The daemon looks itself; otherwise a command beside it, or without it."""

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    def at(self, path: str) -> Path:
        """A file of the system."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """What a small file of the system says; empty if it is not there or says nothing to us."""
        try:
            return self.at(path).read_text("utf-8", "replace")
        except OSError:
            return ""


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that can be looked at, by its name."""

    name: str
    looks_at: str
    look: Callable[[Patient], Awaitable[list[Seen]]]
    needs_settings: bool = True
    """With settings that cannot be used it is left out."""
    bound_s: float = BOUND_S


def ok(found: str, looked_at: str = "") -> Seen:
    return Seen(Severity.OK, found, looked_at=looked_at)


def info(found: str, remedy: str = "", looked_at: str = "") -> Seen:
    return Seen(Severity.INFO, found, remedy, looked_at)


def warning(found: str, remedy: str, looked_at: str = "", repair: Repair | None = None) -> Seen:
    return Seen(Severity.WARNING, found, remedy, looked_at, repair=repair)


def problem(found: str, remedy: str, looked_at: str = "", repair: Repair | None = None) -> Seen:
    return Seen(Severity.PROBLEM, found, remedy, looked_at, repair=repair)


def unseen(found: str, looked_at: str = "") -> Seen:
    """It could not be looked at from here, which is no fault of what was to be looked at."""
    return Seen(Severity.INFO, found, _ASK_MORE, looked_at, partial=True)


_ASK_MORE: Final = "Look again as root, or with the daemon running: it sees what belongs to it."


def in_thread(look: Callable[[Patient], list[Seen]]) -> Callable[[Patient], Awaitable[list[Seen]]]:
    """A check that blocks. Its thread is its own: one that hangs on a dead disk keeps nobody from ending."""

    async def looked(patient: Patient) -> list[Seen]:
        return await apart(lambda: look(patient))

    return looked


async def apart(work: Callable[[], T]) -> T:
    """Run in a thread that nobody waits for at the end of the process; raises what `work` raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():  # given up meanwhile
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody asks any more
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return await done
