"""All of it with the real engine on the staging network: link, receive, store, kill the daemon, lose nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pty
import signal
import sys
import termios
from pathlib import Path

import psutil
import pytest

from appliance.bench.rig import Rig, api_back
from appliance.model import Category, MediaKind, SessionState
from appliance.staging import control_types as ct

PHONE = "221771000001"
CONTACT = "221772000001"
DEMO_READY = "Press q to end it."
INTERFACE_SHOWN = "Pairing"
"""In the first line of amda-tui, and in nothing that the demo prints before."""


@pytest.mark.staging
async def test_linked_received_stored_and_nobody_notices_a_killed_daemon() -> None:
    async with Rig() as rig, asyncio.timeout(100):
        await rig.link("one", f"+{PHONE}")
        await rig.staging.wait_online(PHONE)
        before = await rig.staging.last()
        picture = ct.Send(account=PHONE, contact=CONTACT, kind=ct.SendKind.IMAGE, where=ct.Where.STATUS)
        await rig.staging.send(picture)
        async for event in rig.events(after=0, session="one", kind="media"):
            assert event.type == "media.stored"
            break

        await rig.appliance.kill_daemon()
        sent_meanwhile = await rig.staging.send(picture)
        await api_back(rig.api)
        async for event in rig.events(after=0, session="one", kind="media"):
            if (await rig.api.media_item(str(event.data["id"]))).message_id in sent_meanwhile:
                break

        due = {capture.message_id: capture for capture in await rig.staging.captures_due(PHONE)}
        items = [item async for item in rig.api.all_media(session="one")]
        assert {item.message_id for item in items} == set(due)
        for item in items:
            assert (item.category, item.kind) == (Category.STATUS, MediaKind.IMAGE)
            content = b"".join([piece async for piece in rig.api.media_content(item.id)])
            assert hashlib.sha256(content).hexdigest() == due[item.message_id].sha256
        closed = await rig.staging.journal(after=before, kinds=[ct.JournalKind.CLOSED], account=PHONE)
        assert closed == []
        assert (await rig.api.session("one")).state is SessionState.ONLINE

        removed = await rig.api.remove_session("one")
        assert removed.note is None
        await rig.staging.wait_for(ct.JournalKind.UNLINKED, account=PHONE, after=before, by="device")
        assert len([item async for item in rig.api.all_media(session="one")]) == len(items)


async def read_until(master: int, text: str, limit_s: float) -> str:
    """What the program has printed when it has printed `text`."""
    loop = asyncio.get_running_loop()
    seen = bytearray()
    found = asyncio.Event()

    def on_output() -> None:
        try:
            seen.extend(os.read(master, 4096))
        except OSError:  # the program is gone
            loop.remove_reader(master)
        if text.encode() in seen:
            found.set()

    loop.add_reader(master, on_output)
    try:
        async with asyncio.timeout(limit_s):
            await found.wait()
    except TimeoutError:
        raise AssertionError(f"{text!r} was not printed:\n{seen.decode(errors='replace')}") from None
    finally:
        loop.remove_reader(master)
    return seen.decode(errors="replace")


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder; ours are none of them."""
    lines = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.pid != os.getpid():
            lines.append(line)
    return lines


@pytest.mark.staging
@pytest.mark.parametrize("end", ["q", signal.SIGTERM])
@pytest.mark.parametrize(("options", "ready"), [(("--no-tui",), DEMO_READY), ((), INTERFACE_SHOWN)])
async def test_demo_runs_and_leaves_nothing(
    tmp_path: Path, end: str | signal.Signals, options: tuple[str, ...], ready: str
) -> None:
    home, folder = tmp_path / "home", tmp_path / "demo"
    home.mkdir()
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    before = termios.tcgetattr(terminal)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "demo", *options, "--folder", str(folder)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**kept, "HOME": str(home), "TERM": "xterm-256color"},
        cwd=home,
    )
    try:
        printed = await read_until(master, ready, 80)
        assert printed.count("is linked: session") == 5
        assert processes_of(folder)
        if end == "q":
            os.write(master, b"q")
        else:
            process.send_signal(signal.SIGTERM)
        said = await read_until(master, "Nothing is running any more.", 30)
        assert "stopped nothing" not in said, "what is true of amda-tui alone"
        async with asyncio.timeout(10):
            assert await process.wait() == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(terminal)
        os.close(master)
    assert processes_of(folder) == []
    assert list(home.iterdir()) == []
