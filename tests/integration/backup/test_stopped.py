"""A backup that is stopped in the middle, by systemd or by a person, leaves nothing behind and says so."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from appliance.backup.record import read_record
from appliance.backup.work import LOCK, STAGING
from tests.unit.backup.rig import State

RESTIC = """\
#!/bin/sh
# Stands for restic: hangs while it saves.
case "$*" in
    *" backup "*) : >"$HOME/saving"; exec sleep 60 ;;
    *init*) mkdir -p "$RESTIC_REPOSITORY" && : >"$RESTIC_REPOSITORY/config" ;;
esac
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
async def test_stopped_while_it_saves(tmp_path: Path, number: signal.Signals, status: int) -> None:
    state = State(tmp_path)
    await state.make("one")
    program = tmp_path / "bin" / "restic"
    program.parent.mkdir()
    program.write_text(RESTIC)
    program.chmod(0o755)
    (tmp_path / "amda.toml").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "backup", "run"),
        env={
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "AMDA_CONFIG": str(tmp_path / "amda.toml"),
            "AMDA_PATHS_STATE_DIR": str(state.paths.state_dir),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        while not (tmp_path / "saving").exists():  # noqa: ASYNC110 - a stand-in tells by a file
            await asyncio.sleep(0.05)
        assert (state.paths.backups / STAGING / "sessions" / "one").is_dir()
        process.send_signal(number)
        out, said = await process.communicate()
    assert process.returncode == status, said.decode()
    assert out == b""
    assert sorted(path.name for path in state.paths.backups.glob("*")) == [LOCK, "key", "record.json", "repository"]
    assert read_record(state.paths.backups).last_run is None
