"""amda-tui in tmux before a whole appliance: real daemon, workers, engine, Redis and S3, on the staging network."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from appliance.bench.crowd import Crowd
from appliance.bench.rig import Rig, phone_number
from appliance.minio_server import MinioServer
from tests.integration.tui import story
from tests.integration.tui.tmux import Tmux

SESSIONS: Final = 60
"""As many as one appliance is made for."""

pytestmark = [pytest.mark.tmux, pytest.mark.staging, pytest.mark.timeout(400)]


@contextlib.asynccontextmanager
async def appliance(**variables: str) -> AsyncIterator[Rig]:
    async with Rig(variables=variables) as rig:
        for number, session in enumerate(("awa", "binta"), start=1):
            await rig.link(session, phone_number(number))
        yield rig


async def test_a_day_at_the_terminal_among_sixty(tmp_path: Path) -> None:
    async with Rig(variables=story.SMALL_STORE) as rig:
        crowd = Crowd(rig, SESSIONS)
        await crowd.link_all()
        await crowd.all_online()
        async with Tmux(tmp_path, rig.environment, 120, 40) as terminal:
            await terminal.until(f"{SESSIONS} of {SESSIONS} online")
            await story.day(rig, terminal)


@pytest.mark.minio
async def test_whatever_dies_there_is_no_traceback(tmp_path: Path) -> None:
    minio = MinioServer(tmp_path / "minio")
    await minio.start()
    try:
        s3 = {
            "AMDA_STORAGE_KIND": "s3",
            "AMDA_STORAGE_ENDPOINT": minio.endpoint,
            "AMDA_STORAGE_CREDENTIALS": str(minio.credentials_file),
        }
        async with appliance(**s3) as rig, Tmux(tmp_path, rig.environment, 120, 40) as terminal:
            await terminal.until("2 of 2 online")
            await rig.appliance.kill("daemon")
            await terminal.until("does not answer")
            await terminal.until(lambda screen: "does not answer" not in screen and "2 of 2 online" in screen)
            await terminal.press("7")
            await terminal.until(lambda screen: "● Redis" in screen and "● media store" in screen)
            await minio.stop()
            await terminal.until("✖ media store")
            await rig.appliance.kill("redis")
            await terminal.until("● Redis")
            for key in "23456":
                await terminal.press(key)
                await terminal.until(lambda screen: "Reading" not in screen)
            await rig.appliance.stop()
            await terminal.until("does not answer")
            for key in "1234567":
                await terminal.press(key)
                await terminal.screen()
            await terminal.press("1", "r")
            await terminal.until("cannot be reached")
            await story.leave(terminal)
    finally:
        await minio.stop()
