"""What the commands of `amda backup` share: how they end, what goes wrong with them, and their progress."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from appliance.cli.common import CommandError, Exit, run_async, size
from appliance.language import N_, _

if TYPE_CHECKING:
    from appliance.backup.work import Progress

T = TypeVar("T")
SHOW_S: Final = 0.2
"""How often a line of progress is drawn again."""


def carried_out(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; what is worth a warning on the way goes to standard error."""
    from appliance.logging import configure_logging

    configure_logging("warning")
    with errors_told():
        return run_async(_ended_in_order(work))


async def _ended_in_order(work: Coroutine[Any, Any, T]) -> T:
    """SIGTERM (systemd's, when a backup is stopped) ends it as Ctrl-C does: nothing stays in the staging folder."""
    task, stop = asyncio.ensure_future(work), asyncio.Event()

    def end() -> None:
        stop.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        return await task
    except asyncio.CancelledError:
        if stop.is_set():
            raise CommandError(_("it was stopped before its end"), _("Give the same command again.")) from None
        raise


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
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
def shown_progress(*, quiet: bool) -> Iterator[Progress]:
    """One line on standard error that changes, if a person watches; a line for each step in a log."""
    terminal = sys.stderr.isatty()
    drawn, last = 0.0, ""

    def show(step: str, done: int, total: int) -> None:
        nonlocal drawn, last
        if quiet:
            return
        now = time.monotonic()
        if terminal and (step != last or now - drawn >= SHOW_S):
            print(f"\r\x1b[K{_step_text(step, done, total)}", end="", file=sys.stderr, flush=True)
            drawn = now
        elif not terminal and step.partition(":")[0] != last.partition(":")[0]:
            print(f"  {_(step.partition(':')[0])}", file=sys.stderr, flush=True)
        last = step

    try:
        yield show
    finally:
        if terminal and last:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _step_text(step: str, done: int, total: int) -> str:
    name, colon, detail = step.partition(":")
    if total:
        return _("{step}: {done} of {total}").format(step=_(name), done=size(done), total=size(total))
    return f"{_(name)} {size(done)}" if done else f"{_(name)}{colon}{detail}"


STEPS: Final = (
    N_("making the repository"),
    N_("collecting"),
    N_("saving media"),
    N_("saving"),
    N_("letting go of old ones"),
    N_("reading the repository"),
    N_("taking it out"),
    N_("comparing"),
    N_("putting it in place"),
    N_("media"),
    N_("handing it over"),
)
"""What the room says that it is doing, as translators find it."""
