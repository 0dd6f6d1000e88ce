"""`amda` as a script sees it: what it prints, its exit statuses, and one line with the remedy for every error."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

from appliance.model import PairMethod, SessionState
from appliance.protocol import Paired, PairFailed, PairShown, Signal, SignalKind
from appliance.redis_server import RedisServer
from tests.integration.daemon.rig import DATA, ApiRig


class Amda:
    def __init__(self, folder: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        config = folder / "amda.toml"
        config.write_text(f'[paths]\nstate_dir = "{folder}"\n')
        self.environment = {**kept, "AMDA_CONFIG": str(config), "TZ": "UTC"}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "appliance", *arguments)
        return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=self.environment)

    async def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.glob(".*part")]


@pytest.fixture
def amda(tmp_path: Path) -> Amda:
    return Amda(tmp_path)


async def test_sessions(api_rig: ApiRig, amda: Amda) -> None:
    assert await amda("session", "list") == (0, "No sessions yet: amda session add ID\n", "")
    status, out, _ = await amda("session", "add", "one", "--name", "First", "--json")
    assert (status, json.loads(out)["state"]) == (0, "new")
    status, out, _ = await amda("session", "list")
    assert status == 0
    assert "one  new" in out
    assert "Never linked" in out
    status, out, _ = await amda("session", "show", "one")
    assert "one (First)" in out
    status, out, _ = await amda("session", "stop", "one", "--json")
    assert json.loads(out)["state"] == "stopped"
    status, out, err = await amda("session", "remove", "one", "--purge")
    assert (status, err) == (0, "")
    assert "deleted" in out
    assert api_rig.sessions.removed == [("one", True)]


async def test_what_is_kept_is_set_and_shown(api_rig: ApiRig, amda: Amda) -> None:
    await amda("session", "add", "one")
    status, out, err = await amda(
        "session", "set", "one", "trigger=save 👁", "kinds=image,video", "block=+221771234512", "keep_bytes=5M", "--json"
    )
    assert (status, err) == (0, "")
    view = json.loads(out)
    assert view["own"] == ["block", "keep_bytes", "kinds", "trigger"]
    assert view["settings"]["kinds"] == ["image", "video"]
    assert view["settings"]["keep_bytes"] == 5_000_000
    status, out, _ = await amda("session", "set", "one", "kinds=default", "groups=no")
    assert re.search(r"^groups +no +this session$", out, re.MULTILINE)
    assert re.search(r"^kinds .* all$", out, re.MULTILINE)
    assert re.search(r"^trigger +save 👁 +this session$", out, re.MULTILINE)
    assert (await amda("session", "capture", "one"))[1] == out


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("kinds=film", "kinds"),
        ("block=everybody", "block"),
        ("groups=perhaps", "groups"),
        ("keep_hours=-1", "keep_hours"),
        ("colour=blue", "statuses, deleted"),
        ("trigger", "KEY=VALUE"),
    ],
)
async def test_what_cannot_be_set_is_told(amda: Amda, setting: str, told: str) -> None:
    status, out, err = await amda("session", "set", "one", setting)
    assert (status, out) == (2, "")
    assert told in err


async def test_errors_have_a_remedy_and_an_exit_status(api_rig: ApiRig, amda: Amda) -> None:
    assert await amda("session", "show", "nobody") == (
        3,
        "",
        "amda: There is no session nobody.\n  what to do: List them: amda session list\n",
    )
    status, out, err = await amda("session", "show", "nobody", "--json")
    assert (status, out) == (3, "")
    assert json.loads(err)["exit_status"] == 3
    await amda("session", "add", "one")
    assert (await amda("session", "add", "one"))[0] == 4
    assert (await amda("session", "add", "Bad Name"))[0] == 2
    for arguments, status, part in (
        (("pair", "one", "--phone", "0771234512"), 2, "starts with 0"),
        (("pair", "one"), 2, "either --phone or --qr"),
        (("media", "get", "nothing"), 3, "no media item"),
        (("status", "--config", "/does/not/exist"), 2, "no such file"),
    ):
        found, out, err = await amda(*arguments)
        assert (found, out) == (status, "")
        assert part in err
        assert "Traceback" not in err


async def test_nobody_runs(amda: Amda) -> None:
    status, out, err = await amda("status")
    assert (status, out) == (5, "")
    assert "not running" in err
    assert "amda run" in err


async def test_status_of_a_degraded_appliance(api_rig: ApiRig, amda: Amda, redis_server: RedisServer) -> None:
    assert (await amda("status"))[0] == 0
    await redis_server.stop()
    status, out, _ = await amda("status")
    assert status == 6
    assert "redis: Redis is not running" in out


async def test_pair_shows_the_code_and_waits_for_the_result(api_rig: ApiRig, amda: Amda) -> None:
    await api_rig.sessions.create("one", "one")
    process = await amda.start("pair", "one", "--phone", "+221 77 123 45 12")
    worker = await api_rig.sessions.begun.get()
    worker.report(PairShown(method=PairMethod.CODE, value="ABCD-EFGH", expires_at=time.time() + 100))
    assert process.stdout is not None
    before = b""
    async with asyncio.timeout(30):
        while b"ABCD-EFGH" not in (line := await process.stdout.readline()):
            assert line
            before += line
    assert "Link with phone number instead" in before.decode()
    worker.report(Paired(jid="221771234512:1@s.whatsapp.net", lid="1@lid"))
    worker.report(Signal(kind=SignalKind.CONNECTED))
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert "Linked: session one is +22177·····12".encode() in out


async def test_pair_by_qr_draws_it_and_says_why_it_failed(api_rig: ApiRig, amda: Amda) -> None:
    await api_rig.sessions.create("one", "one")
    process = await amda.start("pair", "one", "--qr")
    worker = await api_rig.sessions.begun.get()
    text = "https://wa.me/settings/linked_devices#2@abc,def,ghi,jkl,1"
    worker.report(PairShown(method=PairMethod.QR, value=text, expires_at=time.time() + 60))
    assert process.stdout is not None
    async with asyncio.timeout(30):
        await process.stdout.readuntil("▄".encode())
        worker.report(PairShown(method=PairMethod.QR, value=text, expires_at=time.time()))  # the last one, just over
        worker.report(PairFailed(reason="timeout", shown=True))
        _, err = await process.communicate()
    assert process.returncode == 6
    assert "not scanned" in err.decode()
    assert "what to do" in err.decode()


async def test_media_is_fetched_and_checked(api_rig: ApiRig, amda: Amda, tmp_path: Path) -> None:
    await api_rig.sessions.create("one", "one")
    await api_rig.capture("one", "M1")
    status, out, _ = await amda("media", "list", "--json")
    [item] = json.loads(out)["items"]
    target = tmp_path / "out.png"
    assert (await amda("media", "get", item["id"], "--output", str(target)))[0] == 0
    assert target.read_bytes() == DATA
    assert (await amda("media", "get", item["id"], "--output", str(target)))[0] == 4
    [stored] = (tmp_path / "media").glob("view-once/*/*/*.png")
    stored.write_bytes(DATA[:-1] + b"x")
    status, _, err = await amda("media", "get", item["id"], "--output", str(tmp_path / "bad.png"))
    assert status == 1
    assert "hash differs" in err
    assert not (tmp_path / "bad.png").exists()
    assert left_over(tmp_path) == []


async def test_events_are_listed_and_followed(api_rig: ApiRig, amda: Amda) -> None:
    for number in range(3):
        await api_rig.bus.publish("media.stored", "one", number=number)
    status, out, _ = await amda("events", "--last", "2", "--json")
    assert status == 0
    assert [json.loads(line)["data"]["number"] for line in out.splitlines()] == [1, 2]
    process = await amda.start("events", "--follow", "--last", "1")
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert b"number=2" in await process.stdout.readline()
        await api_rig.bus.publish("session.state", "one", state="online")
        assert b"state=online" in await process.stdout.readline()
    process.send_signal(2)
    async with asyncio.timeout(30):
        assert await process.wait() == 130


async def test_hostile_text_does_not_reach_the_terminal(api_rig: ApiRig, amda: Amda) -> None:
    await api_rig.sessions.create("one", "one")
    api_rig.sessions.change("one", state=SessionState.FAILED, detail="\x1b]0;owned\x07")
    for command in (("session", "list"), ("session", "show", "one")):
        _, out, _ = await amda(*command)
        assert "\x1b" not in out
        assert "owned" in out


async def test_config_and_version_need_no_daemon(amda: Amda, tmp_path: Path) -> None:
    status, out, _ = await amda("config", "show", "paths")
    assert status == 0
    assert str(tmp_path) in out
    assert "AMDA_PATHS_STATE_DIR" in out
    assert "(file; appliance)" in out
    assert json.loads((await amda("version", "--json"))[1])["release"]
    assert (await amda("--help"))[0] == 0
    assert (await amda("nonsense"))[0] == 2


async def test_settings_are_changed_in_the_file_or_not_at_all(amda: Amda, tmp_path: Path) -> None:
    file = tmp_path / "amda.toml"
    file.write_text(f'# mine\n[paths]\nstate_dir = "{tmp_path}"\n')
    status, out, err = await amda("config", "set", "pairing.slots", "5", "redis.own", "false")
    assert (status, err) == (0, "")
    assert out == "pairing.slots takes effect at once.\nredis.own needs a restart of the whole appliance.\n"
    text = file.read_text()
    assert text.startswith("# mine\n")
    assert "slots = 5" in text
    assert "own = false" in text
    for arguments, part in (
        (("set", "pairing.slotz", "4"), "did you mean slots?"),
        (("set", "pairing.slots", "many"), "pairing.slots: expected int"),
        (("set", "pairing.slots"), "pairing.slots has no value"),
        (("set", "slots", "4"), "slots is no setting"),
        (("set", "alerts.quiet_from", "22:00"), "belong together"),
        (("set", "pairing.tries", "2", "pairing.slots", "99"), "<= 16"),
        (("unset", "nothing.here"), "section nothing is not known"),
        (("show", "nothing"), "There is no section nothing"),
    ):
        status, out, err = await amda("config", *arguments)
        assert (status, out) == (2, "")
        assert part in err
        assert "Traceback" not in err
    assert file.read_text() == text
    status, out, _ = await amda("config", "unset", "redis.own", "--json")
    told = json.loads(out)
    assert (told["changed"], told["settings"][0]["change"]) == (True, "appliance")
    shown = json.loads((await amda("config", "show", "redis", "--json"))[1])
    assert {one["key"]: (one["value"], one["source"]) for one in shown}["own"] == (True, "default")
