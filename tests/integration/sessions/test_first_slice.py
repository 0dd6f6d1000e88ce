"""Link, adopt, stop, start, remove: on real processes and a real database."""

from __future__ import annotations

import os
import signal

import pytest

from appliance.model import SessionState
from appliance.problems import ProblemError
from appliance.protocol import SendText
from tests.integration.sessions.conftest import Bed


async def test_a_session_is_linked_and_online(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    assert view.generation == 1
    assert view.phone == "+22177·····12"
    assert view.pid is not None
    assert view.wanted


async def test_a_daemon_restart_disconnects_nobody(bed: Bed) -> None:
    daemon = await bed.daemon()
    pids = {name: (await daemon.link(name)).pid for name in ("anna", "berta")}
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    for name, pid in pids.items():
        view = await daemon.reaches(name, SessionState.ONLINE)
        assert view.pid == pid
        assert await daemon.rows(name) == []
        assert len(bed.journal(name, "login")) == 1


async def test_stop_and_start(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    view = await daemon.service.stop("anna")
    assert view.state is SessionState.STOPPED
    assert view.pid is None
    await daemon.service.start("anna")
    await daemon.reaches("anna", SessionState.ONLINE)
    [row] = await daemon.rows("anna")
    assert row["reason"] == "stopped"
    assert row["back_at"] is not None


async def test_what_was_stopped_stays_stopped(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    await daemon.service.stop("anna")
    await bed.stop_daemon(daemon)
    daemon = await bed.daemon()
    assert (await daemon.service.get("anna")).state is SessionState.STOPPED
    assert len(bed.journal("anna", "start")) == 1


async def test_a_killed_worker_is_back_and_has_a_row(bed: Bed) -> None:
    daemon = await bed.daemon()
    view = await daemon.link("anna")
    assert view.pid is not None
    os.kill(view.pid, signal.SIGKILL)
    await daemon.until(lambda: _is_back(daemon, view.pid))
    [row] = await daemon.rows("anna")
    assert row["reason"] == "crash"
    assert row["raw"] or row["decision"] == "restart"
    assert row["back_at"] is not None
    assert bed.journal("anna", "second-copy") == []


async def test_remove_unlinks_and_deletes(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    removed: list[tuple[str, bool]] = []

    async def on_remove(session: str, purge: bool) -> None:
        assert (bed.folder / "sessions" / session).is_dir()
        assert bed.journal(session, "logout")
        removed.append((session, purge))

    daemon.service.on_remove(on_remove)
    assert await daemon.service.remove("anna", purge=True) is None
    assert removed == [("anna", True)]
    assert not (bed.folder / "sessions" / "anna").exists()
    with pytest.raises(ProblemError, match="no session anna"):
        await daemon.service.get("anna")
    await daemon.link("anna")  # the name is free again


async def test_a_stopped_session_is_started_to_be_unlinked(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("anna")
    await daemon.service.stop("anna")

    async def on_remove(session: str, _purge: bool) -> None:
        assert bed.journal(session, "logout")

    daemon.service.on_remove(on_remove)
    assert await daemon.service.remove("anna", purge=False) is None
    assert not (bed.folder / "sessions" / "anna").exists()


async def test_commands_need_a_running_session(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("anna", "Anna")
    with pytest.raises(ProblemError, match="does not run"):
        await daemon.service.command("anna", SendText(to="self", text="hello"), 1)
    with pytest.raises(ProblemError, match="linked first"):
        await daemon.service.start("anna")
    with pytest.raises(ProblemError, match="no session id"):
        await daemon.service.create("Anna B", "x")
    with pytest.raises(ProblemError, match="is a session anna already"):
        await daemon.service.create("anna", "x")


async def _is_back(daemon: object, pid: int | None) -> bool:
    view = await daemon.service.get("anna")  # type: ignore[attr-defined]
    return view.state is SessionState.ONLINE and view.pid != pid
