"""A login out of a backup takes the place of the one that is in use, under the session's lock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from appliance.model import SessionState
from appliance.model_backup import RestoreSession
from appliance.problems import ProblemError
from tests.integration.sessions.conftest import Bed

ORDER = RestoreSession(store="restored-1", phone="+221770000012", jid="221770000012:3@s.whatsapp.net", seen=7)


def put_store(bed: Bed, name: str = ORDER.store) -> Path:
    store = bed.folder / "sessions" / "one" / name
    store.mkdir(mode=0o700)
    (store / "device.db").touch(mode=0o600)
    return store


async def test_the_restored_login_runs_and_the_former_one_is_gone(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.link("one")
    store = put_store(bed)
    view = await daemon.service.restore("one", ORDER)
    assert (view.generation, view.phone) == (2, "+22177·····12")
    await daemon.reaches("one", SessionState.ONLINE)
    assert [row["reason"] for row in await daemon.rows("one")] == ["stopped"]
    assert len({pid for _, pid, _ in bed.journal("one")}) == 2, "the first process ended before the second began"
    async with asyncio.timeout(10):
        while (bed.folder / "sessions" / "one" / "first").exists():  # noqa: ASYNC110 - deleting has no event
            await asyncio.sleep(0.02)
    assert store.is_dir()
    seen = await daemon.database.fetch_one("SELECT seq FROM worker_seen WHERE store = ?", (ORDER.store,))
    assert seen is not None
    assert seen["seq"] >= ORDER.seen


async def test_a_session_that_lost_its_login_gets_it_back(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("one", "One")
    (bed.folder / "sessions" / "one").mkdir(parents=True)
    put_store(bed)
    await daemon.service.restore("one", ORDER)
    assert (await daemon.reaches("one", SessionState.ONLINE)).generation == 1


async def test_one_operation_at_a_time(bed: Bed) -> None:
    daemon = await bed.daemon()
    await daemon.service.create("one", "One")
    attempt = await daemon.begin_pairing("one", "first")
    put_store(bed)
    with pytest.raises(ProblemError, match="pair is under way"):
        await daemon.service.restore("one", ORDER)
    await attempt.discard()
    with daemon.service._locks.hold("one", "restore"), pytest.raises(ProblemError, match="restore is under way"):
        await daemon.begin_pairing("one", "second")


@pytest.mark.parametrize("what", ["nothing", "link", "own"])
async def test_what_is_no_restored_store_changes_nothing(bed: Bed, what: str) -> None:
    daemon = await bed.daemon()
    await daemon.link("one")
    folder = bed.folder / "sessions" / "one"
    (folder / "first" / "device.db").touch()
    if what == "link":
        (folder / ORDER.store).symlink_to(folder / "first")
    order = ORDER if what != "own" else RestoreSession(store="first", jid=ORDER.jid)
    with pytest.raises(ProblemError, match="no restored store") as refused:
        await daemon.service.restore("one", order)
    assert refused.value.problem.status == 400
    assert (await daemon.service.get("one")).state is SessionState.ONLINE
