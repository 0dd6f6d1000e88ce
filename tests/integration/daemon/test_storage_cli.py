"""Looking at what is stored and cleaning up, as a script sees it; real API, real store."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import msgspec
import pytest

from appliance.minio_server import MinioServer
from tests.integration.daemon.rig import DATA, ApiRig, HeldUp
from tests.integration.daemon.test_cli import Amda


@pytest.fixture
def amda(tmp_path: Path) -> Amda:
    return Amda(tmp_path)


async def _ids(amda: Amda, *arguments: str) -> list[str]:
    status, out, error = await amda("media", "search", *arguments, "--json")
    assert (status, error) == (0, "")
    return [item["id"] for item in json.loads(out)["items"]]


async def test_pin_prune_delete_and_what_is_told_of_it(api_rig: ApiRig, amda: Amda) -> None:
    for number in range(4):
        await api_rig.capture("one", f"M{number}", DATA + bytes([number]))
    [first] = await _ids(amda, "m0")
    assert (await amda("media", "pin", first))[:2] == (0, f"{first} is pinned\n")
    assert await _ids(amda, "--pinned") == [first]
    assert re.search(r"^pinned +yes$", (await amda("media", "show", first))[1], re.MULTILINE)
    status, out, _ = await amda("storage", "prune", "--session", "one", "--dry-run", "--json")
    assert (status, json.loads(out)["objects"]) == (0, 3)
    assert len(await _ids(amda)) == 4
    [second] = await _ids(amda, "m1")
    assert (await amda("media", "delete", second))[0] == 0
    assert (await amda("media", "delete", second))[0] == 3
    status, out, _ = await amda("storage", "prune", "--session", "one", "--json")
    assert (status, json.loads(out)["by_reason"]) == (0, {"asked": 2})
    assert await _ids(amda) == [first]
    status, out, _ = await amda("storage", "removals", "--json")
    assert [removal["reason"] for removal in json.loads(out)] == ["asked", "asked", "deleted"]
    status, out, _ = await amda("storage", "usage", "--json")
    usage = json.loads(out)
    assert (usage["used"], usage["pinned"], usage["in_flight"]) == (len(DATA) + 1, len(DATA) + 1, 0)
    status, out, _ = await amda("storage", "usage")
    assert "one      view-once" in out
    assert (await amda("media", "unpin", first))[0] == 0
    assert (await amda("storage", "prune", "--to-size", "0"))[1].startswith("1 removed")
    assert (await amda("storage", "job"))[1].startswith("prune  done  1 of 1 objects")
    assert (await amda("storage", "refusals"))[1] == "Nothing was refused.\n"


async def test_a_prune_that_is_interrupted_leaves_the_rest(
    api_rig: ApiRig, amda: Amda, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await api_rig.capture("one", f"M{number}", DATA + bytes([number]))
    deletion = HeldUp(api_rig.media, monkeypatch)
    process = await amda.start("storage", "prune", "--session", "one")
    async with asyncio.timeout(30):
        await deletion.begun.wait()
        process.send_signal(signal.SIGINT)
        _, error = await process.communicate()
    deletion.go_on.set()
    assert (process.returncode, error) == (130, b"")
    async with asyncio.timeout(30):
        await api_rig.media.vault.clear_up()
    assert len(await _ids(amda)) == 2
    job = api_rig.media.prunes.last
    assert job is not None
    assert job.prune is not None
    assert (job.done, job.total, job.prune.stopped) == (1, 3, True)


async def test_what_waits_and_what_was_set_aside_is_shown_and_tried_again(api_rig: ApiRig, amda: Amda) -> None:
    assert (await amda("media", "waiting"))[1] == "Nothing waits.\n"
    await api_rig.capture("one", "broken", sha256="0" * 64)
    status, out, error = await amda("media", "waiting")
    assert (status, "SHA-256" in out, "amda media retry" in error) == (0, True, True)
    assert (await amda("media", "retry", "one", "broken"))[0] == 0
    waiting = json.loads((await amda("media", "waiting", "--json"))[1])
    assert [(row["session"], row["items"]) for row in waiting["waiting"]] == [("one", 1)]
    await api_rig.media.intake.drain("one")
    assert (await amda("media", "discard", "one", "broken"))[0] == 0
    assert (await amda("media", "discard", "one", "broken"))[0] == 3
    assert json.loads((await amda("media", "waiting", "--json"))[1])["set_aside"] == []


@pytest.mark.parametrize("arguments", [("--to-size", "much"), ("--older-than", "yesterday"), ("--session", "NO!")])
async def test_wrong_use_is_told_and_removes_nothing(api_rig: ApiRig, amda: Amda, arguments: tuple[str, ...]) -> None:
    await api_rig.capture("one", "M0")
    status, _, error = await amda("storage", "prune", *arguments)
    assert status == 2
    assert "what to do" in error
    assert len(await _ids(amda)) == 1


async def test_export_writes_each_file_once_and_lists_all(api_rig: ApiRig, amda: Amda, tmp_path: Path) -> None:
    for number in range(3):
        await api_rig.capture("one", f"M{number}", DATA + bytes([number // 2]))
    target = tmp_path / "export"
    status, out, _ = await amda("media", "export", str(target), "--json")
    assert (status, json.loads(out)["items"], json.loads(out)["written"]) == (0, 3, 2)
    status, out, _ = await amda("media", "export", str(target), "--json")
    assert (status, json.loads(out)["written"]) == (0, 0)
    rows = [json.loads(line) for line in (target / "index.jsonl").read_text().splitlines()]
    assert {(target / row["key"]).read_bytes() for row in rows} == {DATA + b"\0", DATA + b"\x01"}
    assert (target / "index.jsonl").stat().st_mode & 0o777 == 0o600


async def test_check_tells_what_differs_with_its_exit_status_and_repairs(api_rig: ApiRig, amda: Amda) -> None:
    for number in range(3):
        await api_rig.capture("one", f"M{number}", DATA + bytes([number]))
    assert (await amda("storage", "job"))[:2] == (
        0,
        "There was no check, no cleanup, no move and no prune since the daemon started.\n",
    )
    status, out, _ = await amda("storage", "check", "--hashes", "--json")
    assert (status, json.loads(out)["objects"], json.loads(out)["damaged"]) == (0, 3, 0)
    [first] = await api_rig.media.index.search(limit=1)
    (api_rig.settings.storage.path / first.key).unlink()
    status, out, _ = await amda("storage", "check")
    assert status == 1
    assert re.search(r"^missing +1$", out, re.MULTILINE)
    assert first.key in out
    status, out, _ = await amda("storage", "check", "--repair")
    assert (status, bool(re.search(r"^missing +1 \(repaired\)$", out, re.MULTILINE))) == (0, True)
    assert (await amda("storage", "check", "--json"))[0] == 0
    assert (await amda("storage", "job"))[1].startswith("check  done  2 of 2 objects")
    assert len(await _ids(amda)) == 2


async def test_move_without_settings_for_it_names_what_is_missing(api_rig: ApiRig, amda: Amda) -> None:
    status, _, error = await amda("storage", "move", "--to", "s3")
    assert status == 2
    assert "endpoint is missing" in error
    assert "what to do" in error


@pytest.mark.minio
async def test_move_to_s3_and_back_while_media_comes_in(api_rig: ApiRig, amda: Amda, tmp_path: Path) -> None:
    for number in range(5):
        await api_rig.capture("one", f"M{number}", DATA + bytes([number]))
    server = MinioServer(tmp_path / "minio")
    await server.start()
    settings = msgspec.structs.replace(
        api_rig.settings.storage, endpoint=server.endpoint, credentials=server.credentials_file
    )
    api_rig.media.vault.apply_settings(settings)
    status, out, error = await amda("storage", "move", "--to", "s3", "--json")
    assert (status, error) == (0, "")
    report = json.loads(out)
    assert (report["copied"], report["removed"]) == (5, 0)
    assert (Path(report["backup"]) / "amda.db").exists()
    await api_rig.capture("one", "M5", DATA + bytes([5]))
    assert "S3 bucket amda-media" in (await amda("storage", "usage"))[1]
    for media in await _ids(amda):
        assert (await amda("media", "get", media, "-o", str(tmp_path / media)))[0] == 0
    assert (await amda("storage", "move", "--to", "s3", "--remove-old"))[1].startswith("5 old copies deleted")
    assert not [path for path in settings.path.rglob("*") if path.is_file()]
    status, out, _ = await amda("storage", "move", "--to", "folder", "--remove-old", "--json")
    assert (status, json.loads(out)["copied"], json.loads(out)["removed"]) == (0, 6, 6)
    assert (await amda("storage", "check", "--hashes"))[0] == 0
    await api_rig.media.vault.store.close()
    await server.stop()
