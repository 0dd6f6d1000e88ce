"""What the daemon can ask of a worker, command by command; every one gets a reply, an error is one clear line."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.protocol import (
    CaptureSettings,
    Command,
    CommandBody,
    Configure,
    DumpStacks,
    LogIn,
    Logout,
    PairByCode,
    PairByQr,
    Probe,
    Promote,
    Reply,
    SendFile,
    SendText,
    Stop,
    WorkerExit,
)
from appliance.worker.engine.adapter import Engine
from appliance.worker.engine.calls import EngineBusyError, EngineTimeoutError
from appliance.worker.engine.library import EngineError
from appliance.worker.engine.outgoing import OutgoingFile, RecipientError
from appliance.worker.pairing import Pairing

STACKS: Final = "stacks.txt"
MAX_SEND_BYTES: Final = 64 * 1024 * 1024
"""A file is read into memory as a whole, by us and by the engine; WhatsApp's own limit for pictures and video is 64
MB."""


class CommandError(Exception):
    """The command cannot be carried out; the text goes into the reply."""


class Commands:
    """Carries out one command at a time per caller; the calls into the engine are bounded there."""

    def __init__(
        self,
        *,
        engine: Engine,
        pairing: Pairing | None,
        store_folder: Path,
        session_folder: Path,
        configure: Callable[[CaptureSettings], None],
        promote: Callable[[int], None],
        end: Callable[[WorkerExit], None],
    ) -> None:
        self._engine = engine
        self._pairing = pairing
        self._store_folder = store_folder
        self._session_folder = session_folder
        self._configure = configure
        self._promote = promote
        self._end = end

    async def run(self, command: Command) -> Reply:
        """The reply; never raises for what the command itself did wrong."""
        try:
            data = await self._carry_out(command.body)
        except (CommandError, RecipientError, EngineError, EngineTimeoutError, EngineBusyError) as error:
            return Reply(id=command.id, error=str(error) or type(error).__name__)
        except OSError as error:
            return Reply(id=command.id, error=f"{error.strerror or type(error).__name__}")
        return Reply(id=command.id, data=data)

    async def _carry_out(self, body: CommandBody) -> dict[str, object]:
        match body:
            case PairByCode() | PairByQr():
                return await self._pair(body)
            case LogIn():
                self._engine.log_in()
            case Probe():
                return {"seconds": await self._engine.probe(body.timeout_s)}
            case SendText():
                return {"message_id": await self._engine.send_text(body.to, body.text)}
            case SendFile():
                return {"message_id": await self._engine.send_file(body.to, self._file(body))}
            case Configure():
                self._configure(body.capture)
            case Promote():
                self._promote(body.generation)
            case Logout():
                await self._engine.logout()
                self._end(WorkerExit.LOGGED_OUT)
            case Stop():
                self._end(WorkerExit.STOPPED)
            case DumpStacks():
                dump_stacks(self._store_folder)
        return {}

    async def _pair(self, request: PairByCode | PairByQr) -> dict[str, object]:
        if self._pairing is None:
            raise CommandError("this worker runs a linked session; linking needs a worker of its own")
        self._engine.hold_first_login(request.login_wait_s)
        error = await self._pairing.begin(request)
        if error is not None:
            raise CommandError(error)
        return {}

    def _file(self, body: SendFile) -> OutgoingFile:
        path = Path(body.path).resolve()
        if not path.is_relative_to(self._session_folder.resolve()):
            raise CommandError("`path` must lie in the session's folder")
        if path.stat().st_size > MAX_SEND_BYTES:
            raise CommandError(f"`path` is larger than {MAX_SEND_BYTES} bytes")
        return OutgoingFile(path=path, kind=body.kind, mimetype=body.mimetype, caption=body.caption)


def open_stacks(store_folder: Path) -> int:
    """The file for stack dumps, made empty; a descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(store_folder / STACKS, flags, 0o600)


def dump_stacks(store_folder: Path) -> None:
    """Write every Python thread's stack to `stacks.txt`. Raises OSError."""
    fd = open_stacks(store_folder)
    try:
        faulthandler.dump_traceback(fd, all_threads=True)
    finally:
        os.close(fd)
