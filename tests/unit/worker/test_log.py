"""A worker's log never outgrows two files, whatever is written beneath it meanwhile."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import msgspec

from appliance.worker.log import FILE, MAX_BYTES, LogLine

LINES = 3000
"""Of some 2,000 bytes: the file is exchanged five times."""
SLACK_BYTES = 50 * 2100
"""It is looked at every fifty lines."""
WRITER = f"""
import os, pathlib, sys
from appliance.worker.log import WorkerLog
log = WorkerLog(pathlib.Path(sys.argv[1]))
for number in range({LINES}):
    log.write("info", f"{{number:06d}} " + "x" * 1990)
os.write(1, b"the engine's library prints\\n")
"""


def test_it_is_exchanged_while_the_worker_runs(tmp_path: Path) -> None:
    log = tmp_path / FILE
    with log.open("ab") as file:  # as the fork server opens it
        done = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], stdout=file, stderr=file, check=False)
    assert done.returncode == 0, log.read_text()[-500:]
    older = log.with_suffix(".log.1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, older.name]
    for path in (log, older):
        assert path.stat().st_size <= MAX_BYTES + SLACK_BYTES
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    lines = (older.read_bytes() + log.read_bytes()).splitlines()
    assert lines.pop() == b"the engine's library prints"
    numbers = [int(msgspec.json.decode(line, type=LogLine).text.split()[0]) for line in lines]
    assert numbers == list(range(numbers[0], LINES)), "the newest of them all, and none is lost where the file changes"
    assert len(numbers) * 2000 > MAX_BYTES
