"""A process that belongs to nobody is seen off; a login that is a session's is never given up on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from appliance.protocol import EngineState, Hello, WorkerMode
from appliance.sessions.process import WorkerProcess
from appliance.sessions.settings import KeepaliveSettings
from appliance.sessions.stray import Stray


class Process:
    """What `Stray` asks of a process."""

    session = "anna"

    def __init__(self, mode: WorkerMode, state: EngineState) -> None:
        self.unlinked = self.ended = False
        self.hello = Hello(
            protocol=1, session="anna", generation=1, store_folder="/s", mode=mode, pid=1, started_at=0.0, engine="e",
            engine_state=state, connected_at=None, sandbox="full", oldest_event=1,
        )  # fmt: skip

    async def unlink(self, _timeout_s: float) -> str | None:
        self.unlinked = True
        return None

    async def end(self, _settings: KeepaliveSettings, **_: Any) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("mode", "state", "keep_login", "unlinked"),
    [
        (WorkerMode.PAIR, EngineState.CONNECTED, False, True),
        (WorkerMode.PAIR, EngineState.UNPAIRED, False, False),
        (WorkerMode.RUN, EngineState.CONNECTED, False, False),
        (WorkerMode.PAIR, EngineState.CONNECTED, True, False),
    ],
)
async def test_only_a_link_that_nobody_will_use_is_unlinked(
    mode: WorkerMode, state: EngineState, *, keep_login: bool, unlinked: bool
) -> None:
    process = Process(mode, state)
    stray = Stray(KeepaliveSettings(), keep_login=keep_login)
    await stray.hello(cast(WorkerProcess, process), process.hello)
    await stray.end(cast(WorkerProcess, process))
    assert (process.unlinked, process.ended) == (unlinked, True)


def test_who_a_process_is_does_not_hang_on_what_proc_shows() -> None:
    """On a server the sessions' processes are hidden from the daemon."""
    text = (Path(__file__).parents[3] / "appliance" / "sessions" / "process.py").read_text()
    assert "appliance.processes" not in text
